//! The filters of the table: a search, fields, and the cards of keys that need attention.

use keyside_credentials::{Credential, Environment, Listed, Status, Timestamp, Workspace};
use serde::Deserialize;

use super::row;
use crate::{
    form::choice,
    pages::shell::{Visit, query},
    query::Parameters,
};

/// Each field without a value includes everything.
#[derive(Default)]
pub(super) struct Filters {
    pub(super) q: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) status: Option<Status>,
    pub(super) environment: Option<Environment>,
    pub(super) tag: Option<String>,
    pub(super) posture: Option<Posture>,
}

/// Why keys need attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Posture {
    /// Its expiry is near.
    Expiring,
    /// The provider refused it at the last live check, or refuses it in traffic.
    Rejected,
    /// No request has used it.
    Unused,
    /// No request has used it for a long time.
    Idle,
}

impl Filters {
    pub(super) fn read(parameters: &mut Parameters) -> Self {
        let text = |text: &str| Ok(text.trim().to_owned());
        let q = parameters.filter("q", text);
        Self {
            q: q.filter(|q| !q.is_empty()),
            provider: parameters.filter("provider", text),
            status: parameters.filter("status", choice),
            environment: parameters.filter("environment", choice),
            tag: parameters.filter("tag", text),
            posture: parameters.filter("show", choice),
        }
    }

    /// Only the keys behind a card.
    pub(super) fn to(posture: Option<Posture>) -> Self {
        Self {
            posture,
            ..Self::default()
        }
    }

    /// The query of this table's page, which begins with `?`.
    pub(super) fn query(&self, workspace: &Workspace, page: &str) -> String {
        query(&[
            ("workspace", workspace.id.as_ref()),
            ("q", self.q.as_deref().unwrap_or_default()),
            ("provider", self.provider.as_deref().unwrap_or_default()),
            ("status", self.status.map_or("", Status::as_str)),
            (
                "environment",
                self.environment.map_or("", Environment::as_str),
            ),
            ("tag", self.tag.as_deref().unwrap_or_default()),
            ("show", self.posture.map_or("", Posture::as_str)),
            ("page", page),
        ])
    }

    pub(super) fn is_active(&self) -> bool {
        self.q.is_some() || self.has_filter()
    }

    fn has_filter(&self) -> bool {
        self.provider.is_some()
            || self.status.is_some()
            || self.environment.is_some()
            || self.tag.is_some()
            || self.posture.is_some()
    }

    pub(super) fn includes(&self, visit: &Visit, listed: &Listed, now: Timestamp) -> bool {
        match listed {
            Listed::Known(key) => {
                self.filters_include(key, now) && self.q_is_in(|| searched(visit, key))
            }
            // Nothing of it is known but its id.
            Listed::Lost(lost) => !self.has_filter() && self.q_is_in(|| lost.id.to_string()),
        }
    }

    fn filters_include(&self, key: &Credential, now: Timestamp) -> bool {
        let tag = key.usage_tag.as_ref().map(AsRef::<str>::as_ref);
        let provider: &str = &key.provider;
        self.provider.as_deref().is_none_or(|it| it == provider)
            && self.status.is_none_or(|it| it == key.status)
            && self.environment.is_none_or(|it| it == key.environment)
            && (self.tag.is_none() || self.tag.as_deref() == tag)
            && self.posture.is_none_or(|it| it.applies(key, now))
    }

    fn q_is_in(&self, text: impl FnOnce() -> String) -> bool {
        let Some(q) = &self.q else {
            return true;
        };
        text().to_lowercase().contains(&q.to_lowercase())
    }
}

impl Posture {
    fn as_str(self) -> &'static str {
        match self {
            Self::Expiring => "expiring",
            Self::Rejected => "rejected",
            Self::Unused => "unused",
            Self::Idle => "idle",
        }
    }

    /// Whether the key needs this attention. One that has ended needs none.
    pub(super) fn applies(self, key: &Credential, now: Timestamp) -> bool {
        let is_in_use = matches!(key.status, Status::Active | Status::Expiring);
        is_in_use
            && match self {
                Self::Expiring => key.status == Status::Expiring,
                Self::Rejected => row::is_rejected(key),
                Self::Unused => key.last_used_at.is_none(),
                Self::Idle => key.last_used_at.is_some_and(|last| is_long_ago(last, now)),
            }
    }
}

fn is_long_ago(last: Timestamp, now: Timestamp) -> bool {
    now.duration_since(last).as_hours() >= 24 * IDLE_DAYS
}

/// What the search looks through, one a line.
fn searched(visit: &Visit, key: &Credential) -> String {
    let tag = key.usage_tag.as_ref().map(ToString::to_string);
    let hint = key.hint.as_ref().map(ToString::to_string);
    let fingerprint = key.fingerprint.as_ref().map(ToString::to_string);
    let always = [
        key.label.to_string(),
        visit.provider_name(&key.provider),
        key.provider.to_string(),
        key.id.to_string(),
    ];
    let texts: Vec<_> = always
        .into_iter()
        .chain([tag, hint, fingerprint].into_iter().flatten())
        .collect();
    texts.join("\n")
}

/// A key that no request used for so long may not be needed any more.
const IDLE_DAYS: i64 = 90;
