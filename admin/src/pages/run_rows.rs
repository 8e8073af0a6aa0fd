//! Rows of runs: the context of `admin/templates/run_rows.html`.

use keyside_credentials::{
    Listed, Timestamp,
    runs::{RunKind, StoredRun},
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
    if is_refusal(run) {
        return Badge::bad("Refused");
    }
    if run.status == 429 && &*run.outcome == "client_error" {
        return Badge::warn("Rate limited");
    }
    let mut known = OUTCOMES.iter();
    match known.find(|(outcome, ..)| *outcome == &*run.outcome) {
        Some(&(_, tone, icon, word)) => Badge::new(tone, icon, word),
        None => Badge::new("plain", "unknown", words(&run.outcome)),
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

/// Whether Keyside refused the request without forwarding it.
fn is_refusal(run: &StoredRun) -> bool {
    run.refused.is_some() || run.used.is_none()
}

fn detail(run: &StoredRun) -> String {
    let status = match run.status {
        0 => "no status".to_owned(),
        status => format!("HTTP {status}"),
    };
    let by = is_refusal(run).then(|| "by Keyside".to_owned());
    let code = is_refusal(run).then(|| run.outcome.to_string());
    let request = run.refused.as_deref().map(str::to_owned);
    let parts = [by, Some(status), code, request].into_iter().flatten();
    parts.collect::<Vec<_>>().join(" · ")
}

/// How forwarded requests end: the outcome of the record, then tone, icon and word.
pub(super) const OUTCOMES: [(&str, &str, &str, &str); 8] = [
    ("ok", "good", "good", "Succeeded"),
    ("client_error", "bad", "bad", "Rejected"),
    ("server_error", "bad", "bad", "The provider failed"),
    ("unanswered", "bad", "bad", "No response"),
    ("upstream_aborted", "bad", "bad", "Response cut off"),
    ("revoked", "warn", "revoked", "Ended, key revoked"),
    ("cut_by_drain", "warn", "warn", "Ended, Keyside stopped"),
    ("client_closed", "plain", "info", "Client disconnected"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_words() {
        assert_eq!(words("credential_rotated"), "Credential rotated");
        assert_eq!(words(""), "");
    }
}
