//! A row of the matrix: a key, or a provider without one, with its latest results.

use keyside_credentials::{
    Timestamp,
    smoke::{Class, Verdict},
};

use crate::{
    pages::{
        number::{count, known, milliseconds, none},
        shell::{Visit, query},
        time::Time,
        view::Badge,
    },
    problem::sentence,
    wire::{SmokeItemView, SmokeResultView},
};

pub(super) struct Item {
    pub(super) provider: String,
    pub(super) label: String,
    /// Empty if there is no key.
    pub(super) key_href: String,
    /// Where to add the key that is missing; empty if none is.
    pub(super) add_href: String,
    /// None if there is no key.
    pub(super) environment: Option<Badge>,
    pub(super) result: Badge,
    pub(super) detail: String,
    pub(super) remedy: String,
    pub(super) checked: Time,
    pub(super) status: String,
    pub(super) latency: String,
    pub(super) tokens: String,
    pub(super) bars: Vec<Bar>,
    pub(super) bars_text: String,
    pub(super) history: Vec<Past>,
    pub(super) failures: u32,
    pub(super) last_success: Time,
}

/// A result as a bar of the drawing, whose shape says what it is too.
pub(super) struct Bar {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) height: usize,
    pub(super) class: &'static str,
    pub(super) tip: String,
}

/// A result in the list of the latest ones.
pub(super) struct Past {
    pub(super) at: Time,
    pub(super) result: Badge,
    pub(super) figures: String,
}

impl Item {
    pub(super) fn of(visit: &Visit, item: &SmokeItemView, now: Timestamp) -> Self {
        let is_missing = item.credential_id.is_none()
            && item
                .verdict
                .is_none_or(|verdict| verdict == Verdict::Missing);
        let add = query(&[
            ("workspace", item.workspace_id.as_str()),
            ("provider", item.provider.as_str()),
        ]);
        let key = item.credential_id.as_ref();
        let past = item.history.iter();
        Self {
            provider: visit.provider_name(&item.provider),
            label: match &item.label {
                Some(label) => label.to_string(),
                None if is_missing => "no key".to_owned(),
                None => "posted result".to_owned(),
            },
            key_href: key.map_or_else(String::new, |id| visit.key_href(id)),
            add_href: match is_missing {
                true => format!("{}/keys/new{add}", visit.base()),
                false => String::new(),
            },
            environment: item.environment.map(Badge::environment),
            result: match item.verdict {
                Some(verdict) => badge(verdict),
                None => Badge::new("plain", "unknown", "Not checked yet"),
            },
            detail: item.detail.as_deref().map_or_else(String::new, sentence),
            remedy: remedy(item),
            checked: Time::new(item.checked_at, now),
            status: item.status.map_or_else(none, |status| status.to_string()),
            latency: item.latency_ms.map_or_else(none, milliseconds),
            tokens: item.tokens.map_or_else(none, count),
            bars: bars(&item.history, now),
            bars_text: bars_text(&item.history),
            history: past.map(|result| Past::of(result, now)).collect(),
            failures: item.consecutive_failures,
            last_success: Time::new(item.last_success_at, now),
        }
    }
}

impl Past {
    fn of(result: &SmokeResultView, now: Timestamp) -> Self {
        Self {
            at: Time::new(Some(result.at), now),
            result: badge(result.verdict),
            figures: figures(result),
        }
    }
}

/// Oldest first, so that the latest is at the right.
fn bars(history: &[SmokeResultView], now: Timestamp) -> Vec<Bar> {
    let results = history.iter().rev().enumerate();
    let bar = |(place, result): (usize, &SmokeResultView)| {
        let (class, height) = match result.outcome {
            Class::Passed => ("pass", HEIGHT),
            Class::Failed => ("fail", HEIGHT / 2),
            Class::Skipped => ("none", HEIGHT / 10),
        };
        let at = Time::new(Some(result.at), now).exact;
        Bar {
            x: place * SLOT,
            y: HEIGHT - height,
            height,
            class,
            tip: format!("{at}: {}, {}", badge(result.verdict).word, figures(result)),
        }
    };
    results.map(bar).collect()
}

/// The drawing in words.
fn bars_text(history: &[SmokeResultView]) -> String {
    let words = history.iter().rev();
    let words: Vec<_> = words.map(|result| badge(result.verdict).word).collect();
    match words.is_empty() {
        true => "No results yet".to_owned(),
        false => format!("Latest results, oldest first: {}", words.join(", ")),
    }
}

fn figures(result: &SmokeResultView) -> String {
    let latency = known(result.latency_ms.map(milliseconds));
    let tokens = known(result.tokens.map(count));
    format!("latency {latency}, tokens {tokens}")
}

fn badge(verdict: Verdict) -> Badge {
    match verdict {
        Verdict::Accepted => Badge::new("good", "good", "Accepted"),
        Verdict::Limited => Badge::new("warn", "warn", "Limited"),
        Verdict::Rejected => Badge::bad("Rejected"),
        Verdict::Unreachable => Badge::bad("Unreachable"),
        Verdict::Inconclusive => Badge::bad("Inconclusive"),
        Verdict::Unusable => Badge::bad("Unusable"),
        Verdict::Missing => Badge::bad("Missing"),
        Verdict::Capped => Badge::new("plain", "clock", "Capped"),
        Verdict::Interrupted => Badge::new("plain", "unknown", "Interrupted"),
    }
}

/// The next step. Where only the verdict is known, the API's words name commands; these name pages.
fn remedy(item: &SmokeItemView) -> String {
    let said = item.remediation.as_deref().unwrap_or_default();
    let general = item.verdict.and_then(Verdict::remediation);
    let here = match item.verdict {
        Some(Verdict::Rejected) => {
            "Create a new key in the provider's console and rotate to it, or revoke this one."
        }
        Some(Verdict::Unreachable) => {
            "Check the provider's status page, and Keyside's log for what prevented the connection."
        }
        Some(Verdict::Unusable) => {
            "The key's page says what is wrong: rotate to a new key, or restore a backup."
        }
        Some(Verdict::Missing) => {
            "Add a key with this usage tag, or remove the provider from smoke.expected."
        }
        Some(Verdict::Interrupted) => "Run it again.",
        _ => said,
    };
    match general == item.remediation.as_deref() {
        true => here.to_owned(),
        false => said.to_owned(),
    }
}

/// The height of the drawing, and the width of a result, as in `checks.html`.
const HEIGHT: usize = 20;
const SLOT: usize = 8;
