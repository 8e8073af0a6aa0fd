//! `keyside doctor`: looks at all that a support person would ask for, and says what to do where something is wrong.
//!
//! Nothing is changed, no key is sent, and no secret is printed. What the service says itself is not said here in other words:
//! the checks open and read with the service's own code, and print its errors.

mod cache;
mod clock;
mod finding;
mod permissions;
mod providers;
mod running;
mod store;
mod vault;

use std::time::Duration;

use clap::Args;
use keyside_config::{Settings, Sources};

use self::{
    finding::{Finding, State},
    running::RunningInstance,
};
use super::{Failure, Output};
use crate::{
    validated_settings::{Process, ValidatedSettings},
    vault::can_sign_in_beside,
    warnings,
};

/// `keyside doctor`.
#[derive(Args)]
pub(crate) struct Doctor {
    /// Try every provider of the settings, and not only those that there are credentials for
    #[arg(long)]
    all: bool,
}

impl Doctor {
    pub(crate) async fn run(&self, sources: &Sources, output: &Output) -> Result<(), Failure> {
        let settings = Settings::load(sources)?.settings;
        let process = Process::for_store(&settings.store);
        let validated = ValidatedSettings::new(settings, process)?;
        // The one crypto provider in the tree; an error only says that it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let findings = self.examine(validated).await;
        output.print(&findings, |_| in_words(&findings))?;
        let failed = findings.iter().filter(|found| found.state == State::Fail);
        match failed.count() {
            0 => Ok(()),
            failed => {
                let all = findings.len();
                Err(Failure::failed(format!("{failed} of {all} checks failed"))
                    .next("Do what is said for each, and run `keyside doctor` again."))
            }
        }
    }

    async fn examine(&self, validated: ValidatedSettings) -> Vec<Finding> {
        let ValidatedSettings {
            settings,
            store: setup,
            vault: client,
            cache,
            egress,
            ..
        } = validated;
        let mut findings = settings_of(&settings);
        findings.extend(permissions::check(&settings, setup.as_ref()));
        let running = RunningInstance::probe(&settings).await;
        findings.extend(running.finding());
        let can_sign_in = can_sign_in_beside(&settings);
        let stored = async {
            match &setup {
                Some(setup) => store::check(setup, &running, can_sign_in).await,
                None => store::StoreReport::default(),
            }
        };
        let in_vault = vault::check(&settings, client.as_ref(), can_sign_in);
        let cached = cache::check(&settings, cache);
        let (stored, in_vault, cached) = tokio::join!(stored, in_vault, cached);
        let mut used = stored.used;
        used.extend(settings.declared.iter().map(|credential| {
            let provider = credential.provider.to_string();
            (provider, credential.endpoint.clone())
        }));
        let used = providers::ProvidersInUse {
            hosts: used,
            is_all: !stored.is_partly_unread,
        };
        let reached = providers::check(&settings, egress, used, self.all).await;
        let mut clock = stored.clock;
        clock.join(in_vault.clock);
        clock.join(reached.clock);
        findings.extend(stored.findings);
        findings.extend(in_vault.findings);
        findings.extend(cached);
        findings.extend(reached.findings);
        findings.push(clock.finding());
        findings
    }
}

/// They have been read; what deserves a second look is said as `check` says it.
fn settings_of(settings: &Settings) -> Vec<Finding> {
    let warnings = warnings::of(settings).into_iter();
    let warnings = warnings.map(|warning| Finding::warn("settings", warning));
    let read = Finding::ok("settings", "this release can run them");
    std::iter::once(read).chain(warnings).collect()
}

fn in_words(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|found| format!("{found}\n"));
    lines.collect()
}

/// How long each answer across the network is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
