//! `keyside run`: the requests that keys were used for, and refused ones. Never their content.

use clap::{Args, Subcommand, builder::PossibleValuesParser};
use jiff::{civil::DateTime, tz::TimeZone};
use keyside_config::{ProviderId, Sources};
use keyside_credentials::{Clock, Label, SystemClock, Timestamp, WorkspaceId};
use serde_json::json;

use super::{
    Admin, Failure, Output,
    duration::duration,
    items::{escaped, filter},
    provider,
    table::{Table, field_cell},
    workspace,
};

/// The commands on runs.
#[derive(Subcommand)]
pub(crate) enum Run {
    /// List the latest matching runs, newest first
    List(Box<List>),
    /// Show everything about one run
    Show(Show),
}

/// `keyside run list`.
#[derive(Args)]
pub(crate) struct List {
    /// Only of this workspace
    #[arg(long, short)]
    workspace: Option<WorkspaceId>,
    /// Only of this provider
    #[arg(long, short)]
    provider: Option<ProviderId>,
    /// Only with the key that has this label
    #[arg(long, short)]
    label: Option<Label>,
    /// Only with this id, as the runner sent it in X-Keyside-Run
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Only with this tag, as the runner sent it in X-Keyside-Tag
    #[arg(long)]
    tag: Option<String>,
    /// Only with this status, such as 429: the provider's, or Keyside's for refusals; 0 without a
    /// response
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(0..=599))]
    status: Option<u16>,
    /// Only with this outcome: forwarded, or refused with this code
    #[arg(long, short, value_parser = PossibleValuesParser::new(keyside_proxy::outcomes()))]
    outcome: Option<String>,
    /// Only since this time: as this command shows times, as 2027-01-31T00:00:00Z, or as an age
    /// such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only before this time, in the same formats
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Maximum number of runs, 1 to 1000
    #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    admin: Admin,
}

/// `keyside run show`.
#[derive(Args)]
pub(crate) struct Show {
    /// The request id, as `keyside run list` shows it, or from the response's X-Keyside-Request-Id
    id: String,
    #[command(flatten)]
    admin: Admin,
}

pub(crate) async fn run(run: Run, sources: &Sources, output: &Output) -> Result<(), Failure> {
    match run {
        Run::List(list) => list.run(sources, output).await,
        Run::Show(show) => show.run(sources, output).await,
    }
}

impl List {
    async fn run(&self, sources: &Sources, output: &Output) -> Result<(), Failure> {
        let client = self.admin.client(sources)?;
        if let Some(workspace) = &self.workspace {
            workspace::expect(&client, workspace).await?;
        }
        let path = format!("{RUNS}?limit={}{}", self.limit, self.query());
        let page = client.get(&path).await?;
        let items = page["items"].as_array().map_or(&[][..], Vec::as_slice);
        if let (Some(id), true) = (&self.provider, items.is_empty()) {
            provider::find(&client, id.as_str()).await?;
        }
        let shown = json!({ "items": items, "nextCursor": null });
        output.print(&shown, |output| match items.is_empty() {
            true => "No runs match.\n".to_owned(),
            false => output.table(&Table::of_items(items, COLUMNS)),
        })
    }

    fn query(&self) -> String {
        [
            filter("workspaceId", &self.workspace),
            filter("provider", &self.provider),
            filter("label", &self.label),
            filter("runId", &self.run_id),
            filter("tag", &self.tag),
            filter("status", &self.status),
            filter("outcome", &self.outcome),
            filter("since", &self.since),
            filter("until", &self.until),
        ]
        .concat()
    }
}

impl Show {
    async fn run(&self, sources: &Sources, output: &Output) -> Result<(), Failure> {
        let client = self.admin.client(sources)?;
        let path = format!("{RUNS}?limit=1&requestId={}", escaped(&self.id));
        let page = client.get(&path).await?;
        match page["items"].get(0) {
            Some(run) => output.print(run, |output| {
                let fields = FIELDS.map(|(name, field)| (name, field_cell(run, field)));
                output.table(&Table::of_fields(fields))
            }),
            None => Err(Failure::failed("there is no such run in the records").next(
                "`keyside run list` lists the latest; the oldest are deleted once there are more than runs.keep.",
            )),
        }
    }
}

/// Parses a time, or an age such as `2h`. A time without a zone is in the system's, as `run list`
/// shows them.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let shown = text.parse::<DateTime>();
    if let Some(at) = shown
        .ok()
        .and_then(|at| at.to_zoned(TimeZone::system()).ok())
    {
        return Ok(at.timestamp());
    }
    let expected = "expected a time such as \"2027-01-31 00:00:00\" or 2027-01-31T00:00:00Z, or a number and s, m, h or d, such as 2h";
    let ago = duration(text).map_err(|_| expected.to_owned())?;
    let at = SystemClock.now().checked_sub(ago);
    at.map_err(|_| expected.to_owned())
}

const RUNS: &str = "/api/runs";

/// Headings, and the fields of a run below them.
const COLUMNS: [(&str, &str); 12] = [
    ("AT", "at"),
    ("WORKSPACE", "workspaceId"),
    ("PROVIDER", "provider"),
    ("LABEL", "label"),
    ("STATUS", "status"),
    ("OUTCOME", "outcome"),
    ("MS", "latencyMs"),
    ("TOKENS IN", "inputTokens"),
    ("OUT", "outputTokens"),
    ("RUN", "runId"),
    ("TAG", "tag"),
    ("REQUEST", "requestId"),
];

/// Names for people, and the fields of a run.
const FIELDS: [(&str, &str); 19] = [
    ("request", "requestId"),
    ("at", "at"),
    ("workspace", "workspaceId"),
    ("provider", "provider"),
    ("label", "label"),
    ("key", "credentialId"),
    ("environment", "environment"),
    ("status", "status"),
    ("outcome", "outcome"),
    ("refused", "refused"),
    ("milliseconds", "latencyMs"),
    ("to the first byte", "timeToFirstByteMs"),
    ("tokens in", "inputTokens"),
    ("of them cached", "cachedInputTokens"),
    ("written to a cache", "cacheWriteTokens"),
    ("tokens out", "outputTokens"),
    ("of them reasoning", "reasoningTokens"),
    ("run", "runId"),
    ("tag", "tag"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::local;

    #[test]
    fn a_moment_is_a_time_or_an_age() {
        let at: Timestamp = "2027-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(moment("2027-01-31T00:00:00Z"), Ok(at));
        let shown = local(at);
        assert_eq!(moment(&shown), Ok(at), "{shown}");
        let now = SystemClock.now();
        let hour = moment("1h").unwrap();
        assert!(hour < now && moment("2h").unwrap() < hour);
        for text in ["", "yesterday", "2h ago", "-1h", "999999999999999d"] {
            assert!(moment(text).is_err(), "{text:?}");
        }
    }
}
