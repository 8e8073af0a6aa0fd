//! `keyside run figures`: how many requests, how many failed, how long they took, what they used.

use clap::{Args, builder::PossibleValuesParser};
use keyside_credentials::runs::Dimension;
use serde_json::Value;

use super::{RUNS, filters::Filters};
use crate::cli::{
    Admin, Console, Failure,
    items::escaped,
    provider,
    table::{Column, Table, cell, none},
    workspace,
};

#[derive(Args)]
pub(crate) struct Figures {
    /// What to group by; several are separated by commas. Days are in UTC
    #[arg(
        long,
        short,
        value_delimiter = ',',
        default_value = "provider",
        value_parser = PossibleValuesParser::new(Dimension::ALL.map(Dimension::as_str))
    )]
    by: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// Maximum number of groups, 1 to 1000: those with the most runs
    #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    admin: Admin,
}

impl Figures {
    pub(super) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.admin.client(console)?;
        workspace::expect(&client, self.filters.workspace.as_ref()).await?;
        let (limit, by) = (self.limit, escaped(&self.by.join(",")));
        let filters = self.filters.query();
        let path = format!("{RUNS}/figures?limit={limit}&by={by}{filters}");
        let figures = client.get(&path).await?;
        let groups = figures["items"].as_array().map_or(&[][..], Vec::as_slice);
        if groups.is_empty() {
            provider::expect(&client, self.filters.provider.as_ref()).await?;
        }
        console.print(&figures, || match groups.is_empty() {
            true => "No runs match.\n".to_owned(),
            false => console.table(&self.table(groups, &figures["total"])),
        })?;
        let omitted = figures["omittedGroups"].as_u64().unwrap_or(0);
        if omitted > 0 {
            console.note(format_args!(
                "{omitted} smaller groups are left out (-n raises the limit); the total includes them"
            ));
        }
        Ok(())
    }

    /// A row for each group, and one for all of them.
    fn table(&self, groups: &[Value], total: &Value) -> Table {
        let named = KEYS
            .into_iter()
            .filter(|(dimension, ..)| self.by.iter().any(|by| by == dimension));
        let mut named: Vec<_> = named.collect();
        named.dedup_by_key(|(_, heading, _)| *heading);
        let headings = named.iter().map(|(_, heading, _)| *heading);
        let headings: Vec<_> = headings
            .chain(FIGURES.map(|(heading, _)| heading))
            .collect();
        let figures = |of: &Value| FIGURES.map(|(_, figure)| figure(of));
        let of_group = |group: &Value| {
            let names = named.iter().map(|(.., field)| cell(&group[*field]));
            names.chain(figures(group)).collect::<Vec<_>>()
        };
        // The first column has room for it: there is always a dimension.
        let total_name = (0..named.len()).map(|column| match column {
            0 => "total".to_owned(),
            _ => String::new(),
        });
        let total: Vec<_> = total_name.chain(figures(total)).collect();
        Table::new(headings).with_rows(groups.iter().map(of_group).chain([total]))
    }
}

/// The dimensions with the headings and fields of their columns. A key is shown with its label and
/// environment.
const KEYS: [(&str, &str, &str); 9] = [
    ("day", "DAY", "day"),
    ("workspace", "WORKSPACE", "workspaceId"),
    ("provider", "PROVIDER", "provider"),
    ("credential", "KEY", "credentialId"),
    ("credential", "LABEL", "label"),
    ("credential", "ENVIRONMENT", "environment"),
    ("environment", "ENVIRONMENT", "environment"),
    ("tag", "TAG", "tag"),
    ("kind", "KIND", "kind"),
];

/// The figures of a group.
const FIGURES: [Column<Value>; 13] = [
    ("RUNS", |of| cell(&of["count"])),
    ("REFUSED", |of| cell(&of["refused"])),
    ("ERRORS", |of| cell(&of["errors"])),
    ("RATE", |of| {
        let rate = of["errorRate"].as_f64();
        rate.map_or_else(none, |rate| format!("{:.1}%", 100.0 * rate))
    }),
    ("P50 MS", |of| cell(&of["latencyMs"]["p50"])),
    ("P95", |of| cell(&of["latencyMs"]["p95"])),
    ("P99", |of| cell(&of["latencyMs"]["p99"])),
    ("TOKENS IN", |of| cell(&of["inputTokens"])),
    ("OUT", |of| cell(&of["outputTokens"])),
    ("CACHED", |of| cell(&of["cachedInputTokens"])),
    ("CACHE WRITE", |of| cell(&of["cacheWriteTokens"])),
    ("REASONING", |of| cell(&of["reasoningTokens"])),
    ("UNKNOWN USAGE", |of| cell(&of["unknownUsage"])),
];
