//! Settings of `[smoke]`: live checks of tagged keys on a schedule.

use std::{str::FromStr, time::Duration};

use serde::Deserialize;

use super::EnvironmentPin;
use crate::{
    catalogue::Catalogue,
    cron::{Cron, CronError},
    duration,
    layers::Mismatch,
    parsed,
    provider::ProviderId,
    slug::Slug,
};

/// Live checks of tagged keys: which, when, and how much they may spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smoke {
    /// When all tagged keys are checked, in UTC; `None` for never.
    pub schedule: Option<Cron>,
    /// Whether a key is checked soon after it was tagged or its secret was replaced.
    pub on_change: bool,
    /// The usage tag of the keys that are checked.
    pub usage_tag: String,
    /// The environments of the keys that are checked.
    pub environment: EnvironmentPin,
    /// The workspaces whose keys are checked; empty for all.
    pub workspaces: Vec<String>,
    /// Providers for which each of the workspaces must have a tagged key.
    pub expected: Vec<ProviderId>,
    /// Maximum number of checks at a time.
    pub parallel: usize,
    /// Maximum number of requests for one workspace on one day, in UTC.
    pub requests_per_day: u64,
    /// Maximum number of tokens for one workspace on one day, in UTC.
    pub tokens_per_day: u64,
    /// The pause before the one retry; zero for no retry.
    pub retry: Duration,
    /// Whether a check sends a minimal prompt, which costs a few tokens, instead of the cheapest
    /// request.
    pub prompt: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SmokeDocument {
    #[serde(deserialize_with = "parsed::text")]
    schedule: Schedule,
    on_change: bool,
    usage_tag: String,
    environment: EnvironmentPin,
    #[serde(deserialize_with = "parsed::texts")]
    workspaces: Vec<Slug>,
    #[serde(deserialize_with = "parsed::texts")]
    expected: Vec<ProviderId>,
    #[serde(deserialize_with = "parsed::within::<_, _, 1, 64>")]
    parallel: usize,
    #[serde(deserialize_with = "parsed::within::<_, _, 0, 1_000_000>")]
    requests_per_day: u64,
    #[serde(deserialize_with = "parsed::within::<_, _, 0, 1_000_000_000>")]
    tokens_per_day: u64,
    #[serde(deserialize_with = "duration::any")]
    retry: Duration,
    prompt: bool,
}

impl SmokeDocument {
    pub(super) fn build(self, catalogue: &Catalogue) -> Result<Smoke, Mismatch> {
        let is_unknown = |provider: &&ProviderId| catalogue.get(provider).is_none();
        if let Some(unknown) = self.expected.iter().find(is_unknown) {
            let meant = catalogue.most_similar(unknown);
            let meant = meant.map(|meant| format!("; did you mean {}?", meant.id));
            let reason = format!("there is no such provider{}", meant.unwrap_or_default());
            return Err(Mismatch::new("smoke.expected", reason));
        }
        let is_tag = self.usage_tag.trim() == self.usage_tag;
        if !is_tag || !(1..=64).contains(&self.usage_tag.len()) {
            let reason = "expected a usage tag of 1 to 64 characters, such as \"ci-smoke\"";
            return Err(Mismatch::new("smoke.usage_tag", reason));
        }
        Ok(Smoke {
            schedule: self.schedule.0,
            on_change: self.on_change,
            usage_tag: self.usage_tag,
            environment: self.environment,
            workspaces: self.workspaces.into_iter().map(|Slug(id)| id).collect(),
            expected: self.expected,
            parallel: self.parallel,
            requests_per_day: self.requests_per_day,
            tokens_per_day: self.tokens_per_day,
            retry: self.retry,
            prompt: self.prompt,
        })
    }
}

/// A cron expression, or `off`.
struct Schedule(Option<Cron>);

impl FromStr for Schedule {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        match text.trim() {
            "off" => Ok(Self(None)),
            text => text.parse().map(|cron| Self(Some(cron))),
        }
    }
}
