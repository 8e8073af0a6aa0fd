//! The parameters of queries as the description shows them. `query.rs` reads them one by one.
#![allow(dead_code, reason = "described, never made")]

use jiff::Timestamp;
use utoipa::IntoParams;

use super::types::{Environment, Format, Status};

/// Where a list goes on. The forms differ, so that what is no cursor is known at once; they mean nothing to the caller.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WorkspaceCursor {
    /// `nextCursor` of the page before.
    #[param(pattern = "^[a-z0-9-]{1,64}$")]
    cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TokenCursor {
    /// `nextCursor` of the page before.
    #[param(pattern = "^[0-9]{1,18}-[A-Za-z0-9_.:-]{1,64}$")]
    cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecordCursor {
    /// `nextCursor` of the page before.
    #[param(
        pattern = r"^[0-9]{1,17}\.[1-9][0-9]{0,17}\.(installation|workspace/[a-z0-9-]{1,64})$"
    )]
    cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CredentialCursor {
    /// `nextCursor` of the page before.
    #[param(pattern = "^cred_[a-z2-7]{26}$")]
    cursor: Option<String>,
}

/// How many at most.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Limit {
    /// 100 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct CredentialFilter {
    #[param(pattern = "^[a-z0-9-]{1,64}$")]
    workspace_id: Option<String>,
    /// An id of the catalogue.
    provider: Option<String>,
    status: Option<Status>,
    environment: Option<Environment>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct RecordFilter {
    #[param(pattern = "^[a-z0-9-]{1,64}$")]
    workspace_id: Option<String>,
    /// A token's id, or `system`, or `anonymous`.
    #[param(pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    actor: Option<String>,
    /// The name of an event, such as `credential_revoked`.
    event: Option<String>,
    #[param(pattern = "^cred_[a-z2-7]{26}$")]
    credential_id: Option<String>,
}

/// Which runs; each text is compared as a whole.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct RunFilter {
    #[param(pattern = "^[a-z0-9-]{1,64}$")]
    workspace_id: Option<String>,
    provider: Option<String>,
    /// The label that the key had at the time.
    label: Option<String>,
    /// The id in responses and logs.
    request_id: Option<String>,
    /// The runner's own id.
    run_id: Option<String>,
    tag: Option<String>,
    /// The provider's status, or Keyside's of a refusal; 0 finds those that got no response.
    #[param(minimum = 0, maximum = 599)]
    status: Option<u16>,
    outcome: Option<String>,
    /// Those that came in then or later.
    since: Option<Timestamp>,
    /// Those that came in before.
    until: Option<Timestamp>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportForm {
    /// NDJSON unless said otherwise.
    #[param(inline)]
    format: Option<Format>,
    /// The time to begin at. An export from the beginning is the one that can be checked with the public key alone.
    from: Option<Timestamp>,
}

/// The header of a change that is held to what its author saw.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IfMatch {
    /// The ETag of the representation that the change was decided on. Where the resource has changed since, the answer is
    /// 412 and nothing is changed.
    #[param(
        rename = "If-Match",
        value_type = String,
        required = false,
        pattern = r#"^(\*|"[0-9]{1,18}-[0-9a-f]{16}-[0-9a-f]{16}")$"#
    )]
    if_match: Option<String>,
}

/// The same, where a change cannot be made without.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IfMatchRequired {
    /// The ETag of the representation that the change was decided on. Without one the answer is 428; where the resource has
    /// changed since, it is 412, and nothing is changed.
    #[param(
        rename = "If-Match",
        pattern = r#"^(\*|"[0-9]{1,18}-[0-9a-f]{16}-[0-9a-f]{16}")$"#
    )]
    if_match: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IdempotencyKey {
    /// A name for this request: sent again with it, it gets the same answer and changes nothing.
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
    /// Whether answers that are still coming in are cut off too. They run to their end unless said otherwise.
    cut: Option<bool>,
}
