//! Query parameters and headers as OpenAPI describes them. `query.rs` and `precondition.rs` read
//! them.
#![allow(dead_code, reason = "described, never made")]

use jiff::Timestamp;
use utoipa::IntoParams;

use super::types::{Environment, Format, RunKind, Status};

/// Cursors. Each list has its own form, so that a cursor of another list is an error; clients treat
/// them as opaque.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WorkspaceCursor {
    /// The `nextCursor` of the previous page.
    #[param(pattern = "^[a-z0-9-]{1,64}$")]
    cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TokenCursor {
    /// The `nextCursor` of the previous page.
    #[param(pattern = "^[0-9]{1,18}-[A-Za-z0-9_.:-]{1,64}$")]
    cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecordCursor {
    /// The `nextCursor` of the previous page.
    #[param(
        pattern = r"^[0-9]{1,17}\.[1-9][0-9]{0,17}\.(installation|workspace/[a-z0-9-]{1,64})$"
    )]
    cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunCursor {
    /// The `nextCursor` of the previous page.
    #[param(pattern = r"^[0-9]{1,19}\.[0-9]{1,9}$")]
    cursor: Option<String>,
}

/// What runs are grouped by.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct GroupBy {
    /// One or more of `workspace`, `provider`, `credential`, `environment`, `tag`, `kind` and `day`
    /// (in UTC), separated by commas; `provider` by default.
    #[param(
        pattern = "^(workspace|provider|credential|environment|tag|kind|day)(,(workspace|provider|credential|environment|tag|kind|day))*$"
    )]
    by: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CredentialCursor {
    /// The `nextCursor` of the previous page.
    #[param(pattern = "^cred_[a-z2-7]{26}$")]
    cursor: Option<String>,
}

/// The maximum number of items.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Limit {
    /// 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct CredentialFilter {
    #[param(pattern = "^[a-z0-9-]{1,64}$")]
    workspace_id: Option<String>,
    /// The id of a provider in the catalogue.
    provider: Option<String>,
    status: Option<Status>,
    environment: Option<Environment>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ReadinessQuery {
    #[param(pattern = "^[a-z0-9-]{1,64}$")]
    workspace_id: String,
    /// Ids of providers in the catalogue, with commas between them: at most 64. By default all
    /// providers for which the workspace has a credential.
    providers: Option<String>,
}

/// A tag that the client has seen.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IfNoneMatch {
    /// The ETag of an earlier response. If nothing has changed since, the response is 304.
    #[param(rename = "If-None-Match", value_type = String, required = false)]
    if_none_match: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct RecordFilter {
    #[param(pattern = "^[a-z0-9-]{1,64}$")]
    workspace_id: Option<String>,
    /// The id of a token, `system`, or `anonymous`.
    #[param(pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    actor: Option<String>,
    /// The name of an event, such as `credential_revoked`.
    event: Option<String>,
    #[param(pattern = "^cred_[a-z2-7]{26}$")]
    credential_id: Option<String>,
    /// Records of this time or later.
    since: Option<Timestamp>,
    /// Records from before this time.
    until: Option<Timestamp>,
}

/// Filters for runs. Texts must match exactly.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct RunFilter {
    #[param(pattern = "^[a-z0-9-]{1,64}$")]
    workspace_id: Option<String>,
    provider: Option<String>,
    #[param(pattern = "^cred_[a-z2-7]{26}$")]
    credential_id: Option<String>,
    /// The label of the credential at the time.
    label: Option<String>,
    /// The environment of the credential.
    environment: Option<Environment>,
    kind: Option<RunKind>,
    /// The id of the request in responses and logs.
    request_id: Option<String>,
    /// The id that the runner gave.
    run_id: Option<String>,
    tag: Option<String>,
    /// The provider's status, or Keyside's for a refusal; 0 finds requests without a response.
    #[param(minimum = 0, maximum = 599)]
    status: Option<u16>,
    /// How the request ended, or the code of its refusal; `refused` finds every refusal.
    outcome: Option<String>,
    /// Requests that arrived at this time or later.
    since: Option<Timestamp>,
    /// Requests that arrived before this time.
    until: Option<Timestamp>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct SmokeFilter {
    #[param(pattern = "^[a-z0-9-]{1,64}$")]
    workspace_id: Option<String>,
    #[param(pattern = "^[a-z0-9-]{1,64}$")]
    provider: Option<String>,
    /// The id of one of the latest runs: `run` is this one, and `items` are what it checked.
    run_id: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportForm {
    /// NDJSON by default.
    #[param(inline)]
    format: Option<Format>,
    /// The first time to export. Only an export from the beginning can be verified with the public
    /// key alone.
    from: Option<Timestamp>,
}

/// An optional precondition.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IfMatch {
    /// The ETag of the representation that the change is based on. If the resource has changed
    /// since, the response is 412 and nothing is changed.
    #[param(
        rename = "If-Match",
        value_type = String,
        required = false,
        pattern = r#"^(\*|"[0-9]{1,18}-[0-9a-f]{16}-[0-9a-f]{16}")$"#
    )]
    if_match: Option<String>,
}

/// A required precondition.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IfMatchRequired {
    /// The ETag of the representation that the change is based on. Without it the response is 428;
    /// if the resource has changed since, the response is 412 and nothing is changed.
    #[param(
        rename = "If-Match",
        pattern = r#"^(\*|"[0-9]{1,18}-[0-9a-f]{16}-[0-9a-f]{16}")$"#
    )]
    if_match: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IdempotencyKey {
    /// A key for safe retries: the same request with the same key gets the same response and
    /// changes nothing.
    #[param(
        rename = "Idempotency-Key",
        value_type = String,
        required = false,
        pattern = r#"^[!#-\[\]-~]{1,128}$"#
    )]
    idempotency_key: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Cut {
    /// Whether responses in flight are cut off too; false by default.
    cut: Option<bool>,
}
