//! `keyside run`: the requests that keys were used for, and refused ones. Never their content.

mod figures;
mod filters;

use clap::{Args, Subcommand};
use serde_json::json;

use self::{figures::Figures, filters::Filters};
use super::{
    Admin, Console, Failure,
    items::{self, escaped},
    provider,
    table::{Table, field_cell},
    workspace,
};

#[derive(Subcommand)]
pub(crate) enum Run {
    /// List the latest matching runs, newest first
    List(Box<List>),
    /// Show everything about one run
    Show(Show),
    /// Sum up the matching runs: errors, latency, tokens; live checks only with `--kind check`
    Figures(Box<Figures>),
}

#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    filters: Filters,
    /// Maximum number of runs, 1 to 100000
    #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Args)]
pub(crate) struct Show {
    /// The request id, as `keyside run list` shows it, or from the response's X-Keyside-Request-Id
    id: String,
    #[command(flatten)]
    admin: Admin,
}

pub(crate) async fn run(run: Run, console: &Console) -> Result<(), Failure> {
    match run {
        Run::List(list) => list.run(console).await,
        Run::Show(show) => show.run(console).await,
        Run::Figures(figures) => figures.run(console).await,
    }
}

impl List {
    async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.admin.client(console)?;
        workspace::expect(&client, self.filters.workspace.as_ref()).await?;
        let filters = self.filters.query();
        let found = items::list(&client, RUNS, &filters, self.limit as usize).await?;
        let items = &found.items[..];
        if items.is_empty() {
            provider::expect(&client, self.filters.provider.as_ref()).await?;
        }
        let shown = json!({ "items": items, "nextCursor": null });
        console.print(&shown, || match items.is_empty() {
            true => "No runs match.\n".to_owned(),
            false => console.table(&Table::of_items(items, COLUMNS)),
        })
    }
}

impl Show {
    async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.admin.client(console)?;
        let path = format!("{RUNS}?limit=1&requestId={}", escaped(&self.id));
        let page = client.get(&path).await?;
        match page["items"].get(0) {
            Some(run) => console.print(run, || {
                let fields = FIELDS.map(|(name, field)| (name, field_cell(run, field)));
                console.table(&Table::of_fields(fields))
            }),
            None => Err(Failure::failed("there is no such run in the records").next(
                "`keyside run list` lists the latest; the oldest are deleted once there are more than runs.keep.",
            )),
        }
    }
}

const RUNS: &str = "/api/runs";

/// Headings, and the fields of a run below them.
const COLUMNS: [(&str, &str); 14] = [
    ("AT", "at"),
    ("WORKSPACE", "workspaceId"),
    ("PROVIDER", "provider"),
    ("LABEL", "label"),
    ("ENVIRONMENT", "environment"),
    ("KIND", "kind"),
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
const FIELDS: [(&str, &str); 21] = [
    ("request", "requestId"),
    ("at", "at"),
    ("kind", "kind"),
    ("workspace", "workspaceId"),
    ("provider", "provider"),
    ("label", "label"),
    ("key", "credentialId"),
    ("version", "version"),
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
