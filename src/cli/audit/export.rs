//! `keyside audit export`: writes whole lines only, and fails if the last one is missing.

use std::mem;

use clap::{Args, ValueEnum};
use hyper::Method;
use keyside_credentials::Timestamp;
use serde_json::Value;

use super::{AUDIT, Admin, Console, Failure, Filters};
use crate::{
    cli::{items::filter, workspace},
    client::Client,
};

#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    filters: Filters,
    /// The format of records
    #[arg(long, short, default_value = "ndjson")]
    format: Format,
    /// Start at this time, such as 2026-11-29T00:00:00Z. Only an export from the beginning can be
    /// verified by itself
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object per line; each chain ends with its signed head
    Ndjson,
    /// For spreadsheets, safe against formulas
    Csv,
}

impl Export {
    pub(super) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.admin.client(console)?;
        let format = match self.format {
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
        };
        let (from, filters) = (filter("from", &self.from), self.filters.query());
        let path = format!("{AUDIT}/export?format={format}{from}{filters}");
        let incoming = client.download(Method::GET, &path).await;
        let about = self.filters.workspace.as_ref();
        let mut incoming = workspace::explain(&client, about, incoming).await?;
        let mut lines = Lines::default();
        loop {
            match incoming.next().await {
                Ok(Some(piece)) => lines.take(&piece, console)?,
                Ok(None) if self.format == Format::Csv || lines.is_ended() => return Ok(()),
                Ok(None) => return Err(incomplete(&client, "its end missing").await),
                Err(error) => return Err(incomplete(&client, &error.to_string()).await),
            }
        }
    }
}

/// The lines that have arrived so far.
#[derive(Default)]
struct Lines {
    last: Vec<u8>,
    partial: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], console: &Console) -> Result<(), Failure> {
        self.partial.extend_from_slice(bytes);
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(());
        };
        let rest = self.partial.split_off(end + 1);
        let whole = mem::replace(&mut self.partial, rest);
        console.write(&whole)?;
        let lines = whole[..end].rsplit(|byte| *byte == b'\n');
        self.last = lines.take(1).flatten().copied().collect();
        Ok(())
    }

    fn is_ended(&self) -> bool {
        let last: Option<Value> = serde_json::from_slice(&self.last).ok();
        last.is_some_and(|last| last["end"].is_object())
    }
}

/// Keyside cuts an export of damaged records, and a check of the log says which they are.
async fn incomplete(client: &Client, found: &str) -> Failure {
    let checked = client.get(&format!("{AUDIT}/verify")).await.ok();
    let finding = checked.as_ref().and_then(|log| log["finding"].as_str());
    if let Some(finding) = finding {
        return Failure::failed(format!(
            "expected the whole export, found a damaged audit log: {finding}"
        ))
        .next(
            "Everything else was exported. Put back the newest copy of the whole data folder, or restore a backup, and export again.",
        );
    }
    Failure::failed(format!("expected the whole export, found: {found}")).next(
        "Export again into another file: without its last line the export cannot be verified.",
    )
}
