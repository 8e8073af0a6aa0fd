//! `keyside clock`: accepts the clock although it is behind the audit log.
//!
//! It works offline, because a running Keyside's state in memory follows the log's time, and for
//! anyone with the data folder and the master key, who can do everything already. A flag of `serve`
//! would stay in a unit file and accept every clock that is set back from then on.

use clap::{Args, Subcommand};
use keyside_credentials::audit::ClockBehind;
use serde_json::json;

use super::{Console, Failure, confirm::Confirmation, offline::OfflineFolder};

#[derive(Subcommand)]
pub(crate) enum Clock {
    /// Use the clock again although the audit log is ahead of it, while no Keyside runs on the data
    /// folder
    Accept(Accept),
}

#[derive(Args)]
pub(crate) struct Accept {
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(clock: Clock, console: &Console) -> Result<(), Failure> {
    match clock {
        Clock::Accept(accept) => accept.run(console).await,
    }
}

impl Accept {
    async fn run(&self, console: &Console) -> Result<(), Failure> {
        let folder = OfflineFolder::open_to_write(console).await?;
        let behind = folder.log.clock_behind().ok_or_else(not_behind)?;
        if !self.yes {
            confirm(behind)?;
        }
        let accepted = folder.log.accept_clock(behind).await;
        accepted.map_err(|error| folder.unreadable(error))?;
        let (clock, log) = (behind.clock, behind.log);
        let result = json!({ "clock": clock, "log": log });
        console.print(&result, || {
            format!("From the next start on the clock is used again: {clock}; the audit log was at {log}\n")
        })
    }
}

fn confirm(behind: ClockBehind) -> Result<(), Failure> {
    let (clock, log) = (behind.clock, behind.log);
    let date = clock.strftime("%F").to_string();
    Confirmation {
        action: format!(
            "The audit log is at {log}, this machine's clock at {clock}. About to use the clock: what \
             expired between the two becomes valid again"
        ),
        name: &date,
        name_kind: "clock's date (UTC, as 2026-11-22)",
        if_declined: "nothing was changed",
    }
    .confirm()
}

fn not_behind() -> Failure {
    Failure::failed("expected a clock behind the audit log, found one that is not")
        .next("There is nothing to accept: the clock is used already.")
}
