//! The results as a table for people.

use keyside_admin::wire::{SmokeItemView, SmokeReportView};
use keyside_credentials::smoke::Class;

use super::{Console, detail, has_passed, name};
use crate::{
    cli::table::{Column, Table, cell},
    terminal::printable,
};

pub(super) fn render(report: &SmokeReportView, console: &Console) -> String {
    if report.items.is_empty() {
        return "Nothing to check.\n".to_owned();
    }
    let mut text = console.table(&Table::of(&report.items, &COLUMNS));
    for item in report.items.iter().filter(|item| !has_passed(item)) {
        text += &printable(&format!("{}: {}", name(item), detail(item)));
        text.push('\n');
        if let Some(step) = &item.remediation {
            text += &printable(&format!("  next: {step}"));
            text.push('\n');
        }
    }
    text + &totals(&report.items) + "\n"
}

/// `3 checks: 2 passed, 1 failed`.
pub(super) fn totals(items: &[SmokeItemView]) -> String {
    let count = |class| {
        let of_class = items.iter().filter(|item| item.outcome == class);
        of_class.count()
    };
    let counts = [
        (count(Some(Class::Passed)), "passed"),
        (count(Some(Class::Failed)), "failed"),
        (
            count(Some(Class::Skipped)) + count(None),
            "without a result",
        ),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let plural = if items.len() == 1 { "" } else { "s" };
    format!("{} check{plural}: {}", items.len(), counts.join(", "))
}

/// `123 ms`.
pub(super) fn latency(item: &SmokeItemView) -> String {
    let latency = item.latency_ms.map(|latency| format!("{latency} ms"));
    cell(&latency)
}

const COLUMNS: [Column<SmokeItemView>; 8] = [
    ("WORKSPACE", |item| item.workspace_id.to_string()),
    ("PROVIDER", |item| item.provider.to_string()),
    ("LABEL", |item| cell(&item.label)),
    ("ENVIRONMENT", |item| cell(&item.environment)),
    ("RESULT", |item| cell(&item.verdict)),
    ("STATUS", |item| cell(&item.status)),
    ("LATENCY", latency),
    ("TOKENS", |item| cell(&item.tokens)),
];
