//! `keyside smoke`: starts a smoke run, waits for it, and prints its results for people, for
//! programs, or for CI.

mod github;
mod junit;
mod progress;
mod text;

use std::time::Duration;

use clap::{Args, ValueEnum};
use keyside_admin::wire::{NewSmokeRun, SmokeItemView, SmokeReportView, SmokeState};
use keyside_config::ProviderId;
use keyside_credentials::{WorkspaceId, smoke::Class};
use tokio::time::{Instant, sleep};

use self::progress::Progress;
use super::{
    Admin, Console, Failure,
    duration::duration,
    items::{escaped, read, unexpected_format},
    provider, workspace,
};
use crate::client::Client;

/// `keyside smoke`.
#[derive(Args)]
pub(crate) struct Smoke {
    /// Check only keys of this workspace
    #[arg(long, short)]
    workspace: Option<WorkspaceId>,
    /// Check only keys for this provider; can be repeated
    #[arg(long = "provider", short, value_name = "ID")]
    providers: Vec<ProviderId>,
    /// The form of the results [default: text, or json with --json]
    #[arg(long, short)]
    format: Option<Format>,
    /// How long to wait for the results, such as 90s or 10m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people
    Text,
    /// The run as the admin API shows it
    Json,
    /// A JUnit report, one test case for each key
    Junit,
    /// Annotations for GitHub Actions; the table is added to the job's summary, or printed if
    /// GITHUB_STEP_SUMMARY names no file
    Github,
}

impl Smoke {
    pub(crate) async fn run(self, console: &Console) -> Result<(), Failure> {
        let client = self.admin.client(console)?;
        let started = self.start(&client).await?;
        let id = started.run.as_ref().map(|run| run.id.clone());
        let report = match id {
            Some(id) => self.wait(&client, &id).await?,
            None => started,
        };
        self.print(&report, console)?;
        let all = report.items.len();
        let failed = report.items.iter().filter(|item| !has_passed(item)).count();
        match (report.run, failed) {
            (None, _) => Err(Failure::nothing_to_check(
                "no key has the usage tag and the environment of smoke runs, and none is expected",
            )
            .next(NEXT_TAG)),
            (Some(_), 0) => Ok(()),
            (Some(_), failed) => Err(Failure::failed(format!(
                "{failed} of {all} smoke checks did not pass"
            ))
            .next("Fix each key that is named; `keyside key verify ID` checks one alone.")),
        }
    }

    async fn start(&self, client: &Client) -> Result<SmokeReportView, Failure> {
        let providers = self.providers.iter().cloned().collect();
        let new = NewSmokeRun {
            workspace_id: self.workspace.clone(),
            providers: Some(providers).filter(|_| !self.providers.is_empty()),
        };
        let started = client.post(RUNS, &new).await;
        if started
            .as_ref()
            .is_err_and(|error| error.is("fields-invalid"))
        {
            for id in &self.providers {
                provider::find(client, id.as_str()).await?;
            }
        }
        let started = workspace::explain(client, self.workspace.as_ref(), started).await?;
        read(&started, A_RUN)
    }

    /// Waits until the run has finished.
    async fn wait(&self, client: &Client, id: &str) -> Result<SmokeReportView, Failure> {
        let path = format!("/api/smoke?runId={}", escaped(id));
        let (begun, mut progress) = (Instant::now(), Progress::new());
        loop {
            let shown: SmokeReportView = read(&client.get(&path).await?, A_RUN)?;
            match &shown.run {
                Some(run) if run.state == SmokeState::Finished => return Ok(shown),
                Some(_) => progress.show(&shown.items, begun.elapsed()),
                None => return Err(unexpected_format(A_RUN)),
            }
            if begun.elapsed() >= self.timeout {
                return Err(Failure::failed(format!(
                    "the smoke run has not finished within {} s: {}",
                    self.timeout.as_secs(),
                    progress::line(&shown.items)
                ))
                .next("It goes on. Wait longer with --timeout, or see `GET /api/smoke`."));
            }
            sleep(POLL).await;
        }
    }

    fn print(&self, report: &SmokeReportView, console: &Console) -> Result<(), Failure> {
        let default = match console.is_json() {
            true => Format::Json,
            false => Format::Text,
        };
        match self.format.unwrap_or(default) {
            Format::Text => console.write(text::render(report, console).as_bytes()),
            Format::Json => console.print_json(report),
            Format::Junit => console.write(junit::render(report).as_bytes()),
            Format::Github => github::print(report, console),
        }
    }
}

/// Whether it is known that requests with this key can succeed.
fn has_passed(item: &SmokeItemView) -> bool {
    item.outcome == Some(Class::Passed)
}

/// Which key it is, for a sentence.
fn name(item: &SmokeItemView) -> String {
    let (provider, workspace) = (&item.provider, &item.workspace_id);
    match &item.label {
        Some(label) => format!("{provider} key \"{label}\" of workspace {workspace}"),
        None => format!("{provider} in workspace {workspace}"),
    }
}

/// The result, for a sentence.
fn detail(item: &SmokeItemView) -> &str {
    let none = "no result: Keyside's log says why";
    item.detail.as_deref().unwrap_or(none)
}

const RUNS: &str = "/api/smoke/runs";
const A_RUN: &str = "a smoke run";
const NEXT_TAG: &str = "Tag a sandbox key with `keyside key edit ID --usage-tag ci-smoke`. Live keys are checked only if smoke.environment is \"live\" or \"any\"; see [smoke] in docs/CONFIGURATION.md.";

/// How often the run is polled.
const POLL: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests;
