//! Smoke runs on the wire: what starts one, a result from elsewhere, and what is shown.

use std::collections::BTreeSet;

use jiff::Timestamp;
use keyside_config::{Cause, ProviderId};
use keyside_credentials::{
    CredentialId, Environment, Label, WorkspaceId,
    smoke::{Class, Trigger, Verdict},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::read;
use crate::schemas::types;

/// Narrows a smoke run.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSmokeRun {
    /// Only this workspace; all that the token may see by default.
    #[serde(default, deserialize_with = "read::optional")]
    #[schema(value_type = Option<types::WorkspaceId>)]
    pub workspace_id: Option<WorkspaceId>,
    /// Only these providers; all by default.
    #[serde(default, deserialize_with = "read::set::<_, _, 16>")]
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 16)]
    pub providers: Option<BTreeSet<ProviderId>>,
}

/// A result of a check that something else made, such as a CI job.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSmokeResult {
    /// The workspace that it counts for.
    #[serde(deserialize_with = "read::required")]
    #[schema(value_type = types::WorkspaceId)]
    pub workspace_id: WorkspaceId,
    /// The id of a provider in the catalogue.
    #[serde(deserialize_with = "read::required")]
    #[schema(value_type = String, pattern = "^[a-z0-9-]{1,64}$")]
    pub provider: ProviderId,
    /// What came of the check.
    #[schema(value_type = types::SmokeVerdict)]
    pub verdict: Verdict,
    /// The provider's HTTP status, if it responded.
    #[serde(default, deserialize_with = "read::within::<_, _, 100, 599>")]
    #[schema(minimum = 100, maximum = 599)]
    pub status: Option<u16>,
    /// How long the provider took, in milliseconds.
    #[serde(default, deserialize_with = "read::within::<_, _, 0, 86_400_000>")]
    #[schema(minimum = 0, maximum = 86_400_000)]
    pub latency_ms: Option<u64>,
    /// Input and output tokens.
    #[serde(default, deserialize_with = "read::within::<_, _, 0, 1_000_000_000>")]
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub tokens: Option<u64>,
}

/// The keys that are checked, and when.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SmokeView {
    /// The cron expression, in UTC; null for no schedule.
    pub schedule: Option<String>,
    /// When it starts the next run.
    pub next_run_at: Option<Timestamp>,
    /// The usage tag of the keys that are checked.
    pub usage_tag: String,
    /// The environments of the keys that are checked: `sandbox`, `live` or `any`.
    pub environment: String,
    /// The cap on requests of one workspace and day, in UTC.
    pub requests_per_day: u64,
    /// The cap on tokens of one workspace and day, in UTC.
    pub tokens_per_day: u64,
    /// The one that the query names, or the newest that has not finished, or else the one that
    /// finished last; null if there is none.
    pub run: Option<SmokeRunView>,
    /// The keys, those that are expected and missing, and posted results.
    pub items: Vec<SmokeItemView>,
    /// What each workspace with items has spent today.
    pub spent_today: Vec<SmokeSpendView>,
}

/// A run and what it checks.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SmokeReportView {
    /// The run; null if there was nothing to check.
    pub run: Option<SmokeRunView>,
    /// The keys that it checks, and those that are expected and missing.
    pub items: Vec<SmokeItemView>,
}

/// A run.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SmokeRunView {
    /// The id for `GET /api/smoke?runId=`.
    pub id: String,
    /// Why it was started.
    #[schema(value_type = types::SmokeTrigger)]
    pub trigger: Trigger,
    /// Whether it has finished.
    #[schema(value_type = types::SmokeState)]
    pub state: SmokeState,
    /// When it was started.
    pub started_at: Timestamp,
    /// When all of its checks had ended.
    pub finished_at: Option<Timestamp>,
}

/// Whether a run has finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmokeState {
    /// Some checks have no result yet.
    Running,
    /// No check will be made any more.
    Finished,
}

/// A key, or a provider without one, with its latest result. The result's fields are null before
/// the first one.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SmokeItemView {
    /// The workspace.
    #[schema(value_type = String)]
    pub workspace_id: WorkspaceId,
    /// The provider.
    #[schema(value_type = String)]
    pub provider: ProviderId,
    /// The key; null if it is missing, or the result was posted.
    #[schema(value_type = Option<String>)]
    pub credential_id: Option<CredentialId>,
    /// The key's label.
    #[schema(value_type = Option<String>)]
    pub label: Option<Label>,
    /// The key's environment.
    #[schema(value_type = Option<types::Environment>)]
    pub environment: Option<Environment>,
    /// What the verdict means for the run.
    #[schema(value_type = Option<types::SmokeOutcome>)]
    pub outcome: Option<Class>,
    /// What came of the check.
    #[schema(value_type = Option<types::SmokeVerdict>)]
    pub verdict: Option<Verdict>,
    /// Why the provider does not accept the key without reservation, as a stable name; null if it
    /// does, or if the reason is unknown.
    #[schema(value_type = Option<String>)]
    pub cause: Option<Cause>,
    /// The provider's HTTP status.
    pub status: Option<u16>,
    /// How long the provider took, in milliseconds, including connecting.
    pub latency_ms: Option<u64>,
    /// Input and output tokens; null if the provider did not report them.
    pub tokens: Option<u64>,
    /// The result for people. Never text of the provider.
    pub detail: Option<String>,
    /// What to do next; null if the check says that the key works.
    pub remediation: Option<String>,
    /// When the check ended.
    pub checked_at: Option<Timestamp>,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// When a check passed last.
    pub last_success_at: Option<Timestamp>,
    /// The latest results, newest first.
    pub history: Vec<SmokeResultView>,
}

/// One result.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SmokeResultView {
    /// The run; null if the result was posted.
    pub run_id: Option<String>,
    /// When the check ended.
    pub at: Timestamp,
    /// What the verdict means for a run.
    #[schema(value_type = types::SmokeOutcome)]
    pub outcome: Class,
    /// What came of the check.
    #[schema(value_type = types::SmokeVerdict)]
    pub verdict: Verdict,
    /// The provider's HTTP status.
    pub status: Option<u16>,
    /// How long the provider took, in milliseconds, including connecting.
    pub latency_ms: Option<u64>,
    /// Input and output tokens; null if the provider did not report them.
    pub tokens: Option<u64>,
    /// The result for people. Never text of the provider.
    pub detail: String,
    /// Requests that were sent.
    pub attempts: u8,
}

/// What a workspace has spent today, in UTC.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SmokeSpendView {
    /// The workspace.
    #[schema(value_type = String)]
    pub workspace_id: WorkspaceId,
    /// Requests that were sent.
    pub requests: u64,
    /// Tokens that they used, or that are set aside for those whose usage is unknown.
    pub tokens: u64,
}
