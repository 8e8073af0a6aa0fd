//! Bodies that are only described: files, and receipts, which the domain writes and reads itself.
#![allow(dead_code, reason = "described, never constructed")]

use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

/// A file to keep.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(crate) struct File(Vec<u8>);

/// What was erased, confirmed by the installation that did it, once nothing of it is left. Read off the audit record
/// each time it is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    /// The `note` of the audit record.
    id: String,
    installation: String,
    workspace: String,
    /// Which one of its id: each has a higher number than the one before.
    incarnation: u64,
    erased_at: Timestamp,
    erased_by: String,
    request_id: String,
    /// The ids of the keys that are no more; each stands in all that its key had sealed.
    destroyed_keys: Vec<String>,
    credentials: usize,
    /// Tokens that were for this workspace, alone or among others, and open it no more.
    tokens: Vec<String>,
    /// Where the installation's own chain tells of it.
    audit: Head,
    /// The Ed25519 key that checks the signature, in hex. The same for all of an installation's receipts and heads.
    public_key: String,
    /// Ed25519 over all this, in hex.
    signature: String,
}

/// A receipt, as it was given out. Whatever else it may be is an answer, and no error.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub(crate) struct ShownReceipt(serde_json::Value);

/// A record's place in its chain, and the chain hash after it.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Head {
    position: u64,
    hash: String,
}
