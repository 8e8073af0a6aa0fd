//! `keyside doctor`: checks what a support engineer would ask for, and gives a fix for each fault.
//!
//! It changes nothing, sends no key and prints no secret. The checks open and read with the
//! service's own code and print its errors, so that both use the same words.

mod cache;
mod clock;
mod finding;
mod permissions;
mod providers;
mod running;
mod store;
mod vault;

use std::{iter, time::Duration};

use clap::Args;
use keyside_config::{DeclaredCredential, Settings};

use self::{
    finding::{Finding, State},
    running::RunningInstance,
};
use super::{Console, Failure};
use crate::{
    validated_settings::{Process, ValidatedSettings},
    vault::can_sign_in_beside,
    warnings,
};

/// `keyside doctor`.
#[derive(Args)]
pub(crate) struct Doctor {
    /// Check every provider of the settings, not only those with credentials
    #[arg(long)]
    all: bool,
}

impl Doctor {
    pub(crate) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let settings = console.settings()?;
        let process = Process::for_store(&settings.store);
        let validated = ValidatedSettings::new(settings, process)?;
        let findings = self.examine(validated).await;
        console.print(&findings, || as_text(&findings))?;
        let failed = findings.iter().filter(|found| found.state == State::Fail);
        match failed.count() {
            0 => Ok(()),
            failed => {
                let all = findings.len();
                Err(Failure::failed(format!("{failed} of {all} checks failed"))
                    .next("Apply each fix, and run `keyside doctor` again."))
            }
        }
    }

    async fn examine(&self, validated: ValidatedSettings) -> Vec<Finding> {
        let (settings, setup) = (validated.settings, validated.store);
        let mut findings = settings_findings(&settings);
        findings.extend(permissions::check(&settings, setup.as_ref()));
        let running = RunningInstance::probe(&settings).await;
        findings.extend(running.findings());
        let can_sign_in = can_sign_in_beside(&settings);
        let stored = async {
            match &setup {
                Some(setup) => store::check(setup, &running, can_sign_in).await,
                None => store::StoreReport::default(),
            }
        };
        let in_vault = vault::check(&settings, validated.vault.as_ref(), can_sign_in);
        let cached = cache::check(&settings, validated.cache);
        let (stored, in_vault, cached) = tokio::join!(stored, in_vault, cached);
        let mut used = stored.used;
        let destination =
            |declared: &DeclaredCredential| (declared.provider.clone(), declared.endpoint.clone());
        used.extend(settings.declared.iter().map(destination));
        let used = providers::ProvidersInUse {
            hosts: used,
            is_complete: !stored.is_partly_unread,
        };
        let reached = providers::check(&settings, validated.egress, used, self.all).await;
        let clock = stored.clock.merge(in_vault.clock).merge(reached.clock);
        findings.extend(stored.findings);
        findings.extend(in_vault.findings);
        findings.extend(cached);
        findings.extend(reached.findings);
        findings.push(clock.finding());
        let findings = findings.into_iter();
        findings.map(Finding::with_remedy_as_fix).collect()
    }
}

/// The settings were parsed; prints the same warnings as `check`.
fn settings_findings(settings: &Settings) -> Vec<Finding> {
    let warnings = warnings::of(settings).into_iter();
    let warnings = warnings.map(|warning| Finding::warn("settings", warning));
    let read = Finding::ok("settings", "this release can run them");
    iter::once(read).chain(warnings).collect()
}

fn as_text(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|found| format!("{found}\n"));
    lines.collect()
}

/// How long to wait for each response over the network.
const PATIENCE: Duration = Duration::from_secs(5);
