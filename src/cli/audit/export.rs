//! `keyside audit export`: whole lines only, so that what broke off can be continued in the same file.

use clap::{Args, ValueEnum};
use hyper::Method;
use keyside_config::Sources;
use serde_json::Value;

use super::{AUDIT, Admin, Answer, Failure, Filters};
use crate::cli::key::word;

/// `keyside audit export`.
#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    filters: Filters,
    /// The form of a record
    #[arg(long, short, default_value = "ndjson")]
    format: Format,
    /// Begin at this position: where an export has broken off
    #[arg(long, value_name = "POSITION", default_value_t = 1)]
    from: u64,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line; the last one has the count and the head's hash
    Ndjson,
    /// For spreadsheets, safe against formulas
    Csv,
}

impl Export {
    pub(super) async fn run(&self, sources: &Sources, answer: &Answer) -> Result<(), Failure> {
        let client = self.admin.client(sources)?;
        let (format, filters) = (word(self.format), self.filters.query());
        let path = format!("{AUDIT}/export?format={format}&from={}{filters}", self.from);
        let mut incoming = match client.download(Method::GET, &path).await {
            Ok(incoming) => incoming,
            Err(error) => return Err(self.filters.explained(&client, error).await),
        };
        let mut lines = Lines::default();
        loop {
            match incoming.next().await {
                Ok(Some(piece)) => lines.take(&piece, answer)?,
                Ok(None) if self.format == Format::Csv || lines.is_ended() => return Ok(()),
                Ok(None) => return Err(lines.broken_off("its end missing", self.from)),
                Err(error) => return Err(lines.broken_off(&error.to_string(), self.from)),
            }
        }
    }
}

/// What has arrived so far.
#[derive(Default)]
struct Lines {
    /// The last line that was written.
    last: Vec<u8>,
    /// The beginning of the next.
    partial: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], answer: &Answer) -> Result<(), Failure> {
        self.partial.extend_from_slice(bytes);
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(());
        };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        answer.bytes(&whole)?;
        let lines = whole[..end].rsplit(|byte| *byte == b'\n');
        self.last = lines.take(1).flatten().copied().collect();
        Ok(())
    }

    fn is_ended(&self) -> bool {
        let last: Option<Value> = serde_json::from_slice(&self.last).ok();
        last.is_some_and(|last| last["end"].is_object())
    }

    fn broken_off(&self, found: &str, from: u64) -> Failure {
        let from = self.position().map_or(from, |position| position + 1);
        Failure::failed(format!("expected the whole export, found: {found}")).next(format!(
            "Go on with the same command and --from {from}; the lines so far are good."
        ))
    }

    /// Of the last record that was written, in either form.
    fn position(&self) -> Option<u64> {
        let text = str::from_utf8(&self.last).ok()?;
        let of_json = || serde_json::from_str::<Value>(text).ok()?["position"].as_u64();
        let of_csv = || text.split('"').nth(1)?.parse().ok();
        of_json().or_else(of_csv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_broke_off_goes_on_behind_the_last_whole_line() {
        for (last, from) in [
            (r#"{"position":41,"event":"refused"}"#, "--from 42"),
            (r#""41","2026-11-22T00:00:00Z","refused""#, "--from 42"),
            (r#""position","at","event""#, "--from 7"),
        ] {
            let lines = Lines {
                last: last.as_bytes().to_vec(),
                ..Lines::default()
            };
            assert!(
                lines
                    .broken_off("nothing more", 7)
                    .to_string()
                    .contains(from),
                "{last}"
            );
        }
    }
}
