//! Rows of runs: the context of `admin/templates/run_rows.html`.

use keyside_credentials::{
    Listed, Timestamp,
    runs::{Outcome, RunKind, StoredRun},
};

use super::{
    number::{count, microseconds, none},
    shell::Visit,
    time::Time,
    view::Badge,
};

pub(super) struct RunRow {
    pub(super) at: Time,
    pub(super) kind: &'static str,
    pub(super) provider: String,
    pub(super) label: String,
    /// Empty if no key was used, or if it was only checked and never stored.
    pub(super) key_href: String,
    pub(super) environment: Badge,
    pub(super) result: Badge,
    /// The status, and of a refusal its code and the request.
    pub(super) detail: String,
    pub(super) latency: String,
    pub(super) first_byte: String,
    pub(super) tokens_in: String,
    pub(super) tokens_out: String,
    pub(super) tag: String,
    pub(super) run_id: String,
    pub(super) request_id: String,
    /// `version 2`, or that a checked secret was not stored.
    pub(super) version: String,
}

impl RunRow {
    pub(super) fn of(visit: &Visit, run: StoredRun, now: Timestamp) -> Self {
        let used = run.used.as_ref();
        let key = used.and_then(|used| stored(visit, &run.workspace, &used.credential));
        let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
        let tokens = |tokens: Option<u64>| tokens.map_or_else(none, count);
        Self {
            at: Time::new(Some(run.at), now),
            kind: kind(run.kind),
            provider: match &*run.provider {
                "" => "unknown provider".to_owned(),
                id => visit.provider_name(id),
            },
            label: used.map_or_else(String::new, |used| used.label.to_string()),
            key_href: key
                .as_ref()
                .map_or_else(String::new, |key| visit.key_href(key.id())),
            environment: match used {
                Some(used) => Badge::environment(used.environment),
                None => Badge::new("plain", "unknown", "None"),
            },
            result: result(&run),
            detail: detail(&run),
            latency: microseconds(run.latency_us),
            first_byte: run.first_byte_us.map_or_else(none, microseconds),
            tokens_in: tokens(run.tokens.input),
            tokens_out: tokens(run.tokens.output),
            tag: text(&run.tag),
            run_id: text(&run.run_id),
            request_id: run.request_id.to_string(),
            version: used.map_or_else(String::new, |used| match is_candidate(&run, key.as_ref()) {
                true => "candidate, not stored".to_owned(),
                false => format!("version {}", used.version),
            }),
        }
    }
}

/// The key that a run used, if it is stored.
fn stored(visit: &Visit, workspace: &str, credential: &str) -> Option<Listed> {
    let (workspace, id) = (workspace.parse().ok()?, credential.parse().ok()?);
    visit.state.registry.find_in(&workspace, &id)
}

/// Whether a check was of a secret that was not stored afterwards: of a new key, or a new version.
fn is_candidate(run: &StoredRun, key: Option<&Listed>) -> bool {
    let Some(used) = run.used.as_ref().filter(|_| run.kind == RunKind::Check) else {
        return false;
    };
    match key {
        None => true,
        Some(Listed::Known(key)) => {
            let latest = key.versions.last();
            latest.is_some_and(|latest| used.version > latest.number)
        }
        Some(Listed::Lost(_)) => false,
    }
}

/// What requests are made for, in words.
pub(super) fn kind(kind: RunKind) -> &'static str {
    match kind {
        RunKind::Traffic => "Traffic",
        RunKind::Preview => "Preview",
        RunKind::Smoke => "Smoke run",
        RunKind::Check => "Live check",
    }
}

fn result(run: &StoredRun) -> Badge {
    if run.is_refused() {
        return Badge::bad("Refused");
    }
    let mut known = Outcome::ALL.into_iter();
    match known.find(|known| known.as_str() == &*run.outcome) {
        Some(known) => outcome(known),
        None => Badge::new("plain", "unknown", words(&run.outcome)),
    }
}

/// How a forwarded request ended, for people.
pub(super) fn outcome(outcome: Outcome) -> Badge {
    let (tone, icon, word) = match outcome {
        Outcome::Ok => ("good", "good", "Succeeded"),
        Outcome::ClientError => ("bad", "bad", "Rejected"),
        Outcome::RateLimited => ("warn", "warn", "Rate limited"),
        Outcome::ServerError => ("bad", "bad", "The provider failed"),
        Outcome::Unanswered => ("bad", "bad", "No response"),
        Outcome::UpstreamAborted => ("bad", "bad", "Response cut off"),
        Outcome::Revoked => ("warn", "revoked", "Ended, key revoked"),
        Outcome::CutByDrain => ("warn", "warn", "Ended, Keyside stopped"),
        Outcome::ClientClosed => ("plain", "info", "Client disconnected"),
    };
    Badge::new(tone, icon, word)
}

/// `credential_rotated` as `Credential rotated`.
pub(super) fn words(name: &str) -> String {
    let mut words = name.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

fn detail(run: &StoredRun) -> String {
    let status = match run.status {
        0 => "no status".to_owned(),
        status => format!("HTTP {status}"),
    };
    let by = run.is_refused().then(|| "by Keyside".to_owned());
    let code = run.is_refused().then(|| run.outcome.to_string());
    let request = run.refused.as_deref().map(str::to_owned);
    let parts = [by, Some(status), code, request].into_iter().flatten();
    parts.collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_words() {
        assert_eq!(words("credential_rotated"), "Credential rotated");
        assert_eq!(words(""), "");
    }
}
