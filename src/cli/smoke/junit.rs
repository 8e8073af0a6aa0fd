//! The results as a JUnit report, which most CI systems read.

use std::fmt::Write;

use keyside_admin::wire::{SmokeItemView, SmokeReportView};
use keyside_credentials::smoke::Class;

use super::detail;
use crate::cli::table::cell;

/// One test case for each key. A check without a result is an error.
pub(super) fn render(report: &SmokeReportView) -> String {
    let items = &report.items;
    let count =
        |wanted: fn(&SmokeItemView) -> bool| items.iter().filter(|item| wanted(item)).count();
    let failures = count(|item| item.outcome == Some(Class::Failed));
    let errors = count(|item| matches!(item.outcome, None | Some(Class::Skipped)));
    let seconds: u64 = items.iter().filter_map(|item| item.latency_ms).sum();
    let started = report.run.as_ref().map(|run| run.started_at.to_string());
    let timestamp = started.unwrap_or_default();
    let counts = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\" time=\"{}\"",
        items.len(),
        in_seconds(seconds)
    );
    let cases: String = items.iter().map(case).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n\
         \x20 <testsuite name=\"keyside-smoke\" {counts} timestamp=\"{}\">\n{cases}  </testsuite>\n</testsuites>\n",
        escaped(&timestamp)
    )
}

fn case(item: &SmokeItemView) -> String {
    let name = match (&item.label, &item.environment) {
        (Some(label), Some(environment)) => format!("{label} ({environment})"),
        _ => item.provider.to_string(),
    };
    let mut case = format!(
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
        escaped(&format!("{}.{}", item.workspace_id, item.provider)),
        escaped(&name),
        in_seconds(item.latency_ms.unwrap_or(0))
    );
    let element = match item.outcome {
        Some(Class::Passed) => None,
        Some(Class::Failed) => Some("failure"),
        Some(Class::Skipped) | None => Some("error"),
    };
    let written = match element {
        None => writeln!(case, "/>"),
        Some(element) => writeln!(
            case,
            ">\n      <{element} type=\"{}\" message=\"{}\">{}</{element}>\n    </testcase>",
            escaped(&cell(&item.verdict)),
            escaped(detail(item)),
            escaped(item.remediation.as_deref().unwrap_or_default())
        ),
    };
    written.expect("a text is written to memory");
    case
}

fn in_seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1_000, milliseconds % 1_000)
}

/// For an attribute. Control characters have no form in XML 1.0.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
