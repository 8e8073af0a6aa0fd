//! The results for GitHub Actions: annotations as workflow commands, and a table for the job's
//! summary.
//!
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>

use std::{env, fs::OpenOptions, io::Write, path::Path};

use keyside_admin::wire::{SmokeItemView, SmokeReportView};
use keyside_credentials::smoke::{Class, Verdict};

use super::{Console, Failure, detail, name, text};
use crate::cli::table::cell;

pub(super) fn print(report: &SmokeReportView, console: &Console) -> Result<(), Failure> {
    console.write(annotations(&report.items).as_bytes())?;
    let summary = summary(report);
    match env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
        Some(path) => append(Path::new(&path), &summary),
        None => console.write(summary.as_bytes()),
    }
}

fn append(path: &Path, summary: &str) -> Result<(), Failure> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    let written = file.and_then(|mut file| file.write_all(summary.as_bytes()));
    written.map_err(|error| {
        Failure::failed(format!("the job's summary cannot be written: {error}"))
            .next("Unset GITHUB_STEP_SUMMARY to print it instead.")
    })
}

/// An error for each failure; a warning for a restricted key and for a check without a result.
pub(super) fn annotations(items: &[SmokeItemView]) -> String {
    let annotated = items.iter().filter_map(|item| {
        let level = match (item.outcome, item.verdict) {
            (Some(Class::Passed), Some(Verdict::Limited)) => "warning",
            (Some(Class::Passed), _) => return None,
            (Some(Class::Failed), _) => "error",
            (Some(Class::Skipped) | None, _) => "warning",
        };
        let title = property(&format!("Smoke check: {}", name(item)));
        let message = data(&message(item));
        Some(format!("::{level} title={title}::{message}\n"))
    });
    annotated.collect()
}

/// The result, and the next step.
fn message(item: &SmokeItemView) -> String {
    match &item.remediation {
        Some(step) => format!("{}. {step}", detail(item)),
        None => detail(item).to_owned(),
    }
}

/// A heading and a table in GitHub's Markdown.
pub(super) fn summary(report: &SmokeReportView) -> String {
    let mut summary = "### Provider smoke checks\n\n".to_owned();
    if report.items.is_empty() {
        return summary + "Nothing to check.\n";
    }
    summary +=
        "| provider | label | environment | workspace | status | latency | tokens | result |\n";
    summary += "|---|---|---|---|---|---|---|---|\n";
    for item in &report.items {
        let mark = match item.outcome {
            Some(Class::Passed) => "\u{2705}",
            Some(Class::Failed) => "\u{274c}",
            Some(Class::Skipped) | None => "\u{26a0}\u{fe0f}",
        };
        let cells = [
            item.provider.to_string(),
            cell(&item.label),
            cell(&item.environment),
            item.workspace_id.to_string(),
            cell(&item.status),
            text::latency(item),
            cell(&item.tokens),
            format!("{mark} {}", message(item)),
        ];
        let cells = cells.map(|cell| markdown(&cell));
        summary += &format!("| {} |\n", cells.join(" | "));
    }
    summary + &format!("\n{}\n", text::totals(&report.items))
}

/// The message of a workflow command.
fn data(text: &str) -> String {
    let text = text.replace('%', "%25");
    text.replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Text that has no meaning in Markdown: a label may hold any visible character.
fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' | '#' | '!' => {
                escaped.push('\\');
                escaped.push(character);
            }
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}
