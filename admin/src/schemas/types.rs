//! Names and enumerations of the domain as the OpenAPI description shows them. They are described
//! here so that the domain knows nothing of the API.
#![allow(dead_code, reason = "described, never constructed")]

use serde::Deserialize;
use utoipa::ToSchema;

/// The id of a workspace: 1 to 64 of `a-z`, `0-9` and `-`.
#[derive(ToSchema)]
#[schema(pattern = "^[a-z0-9-]{1,64}$")]
pub(crate) struct WorkspaceId(String);

/// The name of a credential for people: 1 to 64 visible ASCII characters, with spaces only between
/// them.
#[derive(ToSchema)]
#[schema(pattern = "^[!-~]([ -~]{0,62}[!-~])?$")]
pub(crate) struct Label(String);

/// What a credential is used for, such as `ci-smoke`: 1 to 64 visible ASCII characters, with spaces
/// only between them.
#[derive(ToSchema)]
#[schema(pattern = "^[!-~]([ -~]{0,62}[!-~])?$")]
pub(crate) struct UsageTag(String);

/// `live` credentials cost money.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Environment {
    Live,
    Sandbox,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Active,
    Expiring,
    Expired,
    Revoked,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verification {
    Accepted,
    Limited,
    Rejected,
    Unreachable,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VersionState {
    Staged,
    Current,
    Grace,
    Destroyed,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Owner,
    Editor,
    Viewer,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenStatus {
    Active,
    Expired,
    Revoked,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Ndjson,
    Csv,
}
