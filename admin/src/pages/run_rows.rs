//! Rows of runs: the context of `run_rows.html`.

use keyside_credentials::{Timestamp, runs::StoredRun};

use super::{
    keys::provider_name,
    shell::Visit,
    time::Time,
    view::{Badge, text_of},
};

pub(super) struct RunRow {
    pub(super) at: Time,
    pub(super) label: String,
    /// Empty if no key was used.
    pub(super) key_href: String,
    pub(super) provider: String,
    pub(super) kind: &'static str,
    pub(super) environment: Badge,
    pub(super) result: Badge,
    /// What was refused, or nothing.
    pub(super) detail: String,
    pub(super) latency: String,
    pub(super) first_byte: String,
    pub(super) tokens_in: String,
    pub(super) tokens_out: String,
    pub(super) tag: String,
    pub(super) run_id: String,
    pub(super) request_id: String,
    pub(super) version: String,
}

impl RunRow {
    pub(super) fn of(visit: &Visit, run: StoredRun, now: Timestamp) -> Self {
        let result = match (&*run.outcome, run.refused.is_some()) {
            ("ok", _) => Badge::good(run.status.to_string()),
            ("client_closed", _) => Badge::plain("Client closed"),
            (outcome, true) => Badge::warn(words(outcome)),
            (outcome, false) => Badge::bad(words(outcome)),
        };
        let used = run.used;
        Self {
            at: Time::new(Some(run.at), now),
            key_href: used.as_ref().map_or_else(String::new, |used| {
                format!("{}/keys/{}", visit.base(), used.credential)
            }),
            provider: provider_name(visit, &run.provider),
            kind: run.kind.as_str(),
            environment: used
                .as_ref()
                .map_or_else(Badge::unknown, |used| Badge::environment(used.environment)),
            result,
            detail: text_of(run.refused),
            latency: milliseconds(Some(run.latency_us)),
            first_byte: milliseconds(run.first_byte_us),
            tokens_in: count(run.tokens.input),
            tokens_out: count(run.tokens.output),
            tag: text_of(run.tag),
            run_id: text_of(run.run_id),
            request_id: run.request_id.to_string(),
            version: used
                .as_ref()
                .map_or_else(String::new, |used| format!("version {}", used.version)),
            label: used.map_or_else(String::new, |used| used.label.to_string()),
        }
    }
}

/// `credential_rotated` as `Credential rotated`.
pub(super) fn words(name: &str) -> String {
    let mut words = name.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

fn milliseconds(micros: Option<u64>) -> String {
    micros.map_or_else(
        || UNKNOWN.to_owned(),
        |micros| format!("{} ms", (micros + 500) / 1000),
    )
}

fn count(number: Option<u64>) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string())
}

const UNKNOWN: &str = "–";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_words() {
        assert_eq!(words("credential_rotated"), "Credential rotated");
        assert_eq!(words(""), "");
    }

    #[test]
    fn an_unknown_figure_is_not_zero() {
        assert_eq!(milliseconds(None), "–");
        assert_eq!(milliseconds(Some(1_499)), "1 ms");
        assert_eq!((&*count(None), &*count(Some(0))), ("–", "0"));
    }
}
