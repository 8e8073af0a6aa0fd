//! `keyside clock`: what to do when the clock is behind the audit log, and right.
//!
//! Offline, because what a running Keyside holds in memory was decided by the log's time; and for whoever has the data folder
//! and the master key, because they can do anything already. A flag of `serve` would stay in a unit file and accept every
//! clock that is set back from then on.

use clap::{Args, Subcommand};
use keyside_config::Sources;
use keyside_credentials::audit::ClockBehind;
use serde_json::json;

use super::{Failure, Output, confirm::Confirmation, offline::OfflineFolder};

/// What can be done about the clock.
#[derive(Subcommand)]
pub(crate) enum Clock {
    /// Let the clock count again where the audit log is ahead of it, while no Keyside runs on the data folder
    Accept(Accept),
}

/// `keyside clock accept`.
#[derive(Args)]
pub(crate) struct Accept {
    /// Do not ask for the date first
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(clock: Clock, sources: &Sources, output: &Output) -> Result<(), Failure> {
    match clock {
        Clock::Accept(accept) => accept.run(sources, output).await,
    }
}

impl Accept {
    async fn run(&self, sources: &Sources, output: &Output) -> Result<(), Failure> {
        let folder = OfflineFolder::open_to_write(sources).await?;
        let behind = folder.log.clock_behind().ok_or_else(not_behind)?;
        if !self.yes {
            confirm(behind)?;
        }
        let accepted = folder.log.accept_clock(behind).await;
        accepted.map_err(|error| folder.unreadable(error))?;
        let (clock, log) = (behind.clock, behind.log);
        let told = json!({ "clock": clock, "log": log });
        output.print(&told, |_| {
            format!("The clock counts again from the next start on: {clock}, where the audit log was at {log}\n")
        })
    }
}

fn confirm(behind: ClockBehind) -> Result<(), Failure> {
    let (clock, log) = (behind.clock, behind.log);
    let date = clock.strftime("%F").to_string();
    Confirmation {
        action: format!(
            "The audit log is at {log}, this machine's clock at {clock}. About to let the clock count: what has ended \
             between the two is good again"
        ),
        name: &date,
        name_kind: "clock's date (UTC, as 2026-11-22)",
        if_declined: "nothing was changed",
    }
    .confirm()
}

fn not_behind() -> Failure {
    Failure::failed("expected a clock behind the audit log, found one that is not")
        .next("There is nothing to accept: the clock counts already.")
}
