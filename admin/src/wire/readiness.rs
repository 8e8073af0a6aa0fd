//! Readiness on the wire.

use keyside_config::ProviderId;
use keyside_credentials::{Environment, Label, ReadinessStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schemas::types;

/// Whether a workspace can use a provider. Fields without a value are null.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessView {
    /// The id of a provider in the catalogue.
    #[schema(value_type = String)]
    pub provider: ProviderId,
    /// The best usable credential decides, else the worst news: `rejected` before `revoked`,
    /// `expired` and `missing`.
    #[schema(value_type = types::Readiness)]
    pub status: ReadinessStatus,
    /// The environment of the credential that decides; null without one.
    #[schema(value_type = Option<types::Environment>)]
    pub environment: Option<Environment>,
    /// Its label.
    #[schema(value_type = Option<types::Label>)]
    pub label: Option<Label>,
    /// A link to the page where a person can fix it; null if `status` is `ready`.
    pub remediation: Option<String>,
}
