//! Settings of `[smoke]`: live checks of tagged keys on a schedule.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use super::EnvironmentPin;
use crate::{
    catalogue::Catalogue, cron::Cron, duration, layers::Mismatch, parsed, provider::ProviderId,
    slug,
};

/// Live checks of tagged keys: which, when, and how much they may spend.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smoke {
    /// When all tagged keys are checked, in UTC; `None` for never.
    #[serde(deserialize_with = "schedule")]
    pub schedule: Option<Cron>,
    /// Whether a key is checked soon after it was tagged or its secret was replaced.
    pub on_change: bool,
    /// The usage tag of the keys that are checked.
    pub usage_tag: String,
    /// The environments of the keys that are checked.
    pub environment: EnvironmentPin,
    /// The workspaces whose keys are checked; empty for all.
    #[serde(deserialize_with = "slug::list")]
    pub workspaces: Vec<String>,
    /// Providers for which each of the workspaces must have a tagged key.
    pub expected: Vec<ProviderId>,
    /// Maximum number of checks at a time.
    #[serde(deserialize_with = "parsed::within::<_, _, 1, 64>")]
    pub parallel: usize,
    /// Maximum number of requests for one workspace on one day, in UTC.
    #[serde(deserialize_with = "parsed::within::<_, _, 0, 1_000_000>")]
    pub requests_per_day: u64,
    /// Maximum number of tokens for one workspace on one day, in UTC.
    #[serde(deserialize_with = "parsed::within::<_, _, 0, 1_000_000_000>")]
    pub tokens_per_day: u64,
    /// The pause before the one retry; zero for no retry.
    #[serde(deserialize_with = "duration::any")]
    pub retry: Duration,
    /// Whether a check sends a minimal prompt, which costs a few tokens, instead of the cheapest
    /// request.
    pub prompt: bool,
}

impl Smoke {
    /// Whether keys of this workspace may be checked.
    pub fn includes(&self, workspace: &str) -> bool {
        self.workspaces.is_empty() || self.workspaces.iter().any(|id| id == workspace)
    }

    pub(super) fn build(self, catalogue: &Catalogue) -> Result<Self, Mismatch> {
        for id in &self.expected {
            let known = catalogue.expect(id);
            known.map_err(|reason| Mismatch::new("smoke.expected", reason))?;
        }
        let is_tag = self.usage_tag.trim() == self.usage_tag;
        if !is_tag || !(1..=64).contains(&self.usage_tag.len()) {
            let reason = "expected a usage tag of 1 to 64 characters, such as \"ci-smoke\"";
            return Err(Mismatch::new("smoke.usage_tag", reason));
        }
        Ok(self)
    }
}

/// A cron expression, or `off`.
fn schedule<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Cron>, D::Error> {
    match String::deserialize(from)?.trim() {
        "off" => Ok(None),
        text => text.parse().map(Some).map_err(D::Error::custom),
    }
}
