//! Bodies that are only described: files, and receipts, which the domain writes and reads itself.
#![allow(dead_code, reason = "described, never constructed")]

use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

/// A file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(crate) struct File(Vec<u8>);

/// The receipt of an erased workspace, issued once nothing of it is left. It is computed from the
/// audit record each time.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    /// The `note` of the audit record.
    id: String,
    installation: String,
    workspace: String,
    /// Distinguishes workspaces that had the same id: a later one has a higher number.
    incarnation: u64,
    erased_at: Timestamp,
    erased_by: String,
    request_id: String,
    /// The ids of the destroyed keys. Everything that a key sealed names it.
    destroyed_keys: Vec<String>,
    credentials: usize,
    /// The tokens whose scope included the workspace.
    tokens: Vec<String>,
    /// The position of the erasure in the installation's chain.
    audit: Head,
    /// The Ed25519 public key that verifies the signature, in hex. It is the same for all receipts
    /// and heads of an installation.
    public_key: String,
    /// The Ed25519 signature of the other fields, in hex.
    signature: String,
}

/// A receipt as it was issued. Any other object is answered as not confirmed.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub(crate) struct ShownReceipt(serde_json::Value);

/// The position of a record in its chain, and the chain hash after it.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Head {
    position: u64,
    hash: String,
}
