//! The bodies of requests as the description shows them. `form.rs` reads them field by field, so that all that is wrong is
//! said at once and nothing is repeated.
#![allow(dead_code, reason = "described, never made")]

use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use super::words::{Environment, Role};

/// A provider key to store.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewCredential {
    #[schema(pattern = "^[a-z0-9-]{1,64}$")]
    workspace_id: String,
    /// An id of the catalogue.
    provider: String,
    /// Unique among the credentials of its workspace and provider that are not revoked.
    #[schema(pattern = "^[!-~]([ -~]{0,62}[!-~])?$")]
    label: String,
    /// `live` unless said otherwise.
    environment: Option<Environment>,
    /// The key itself, at least 8 bytes: a shorter one could not be masked in answers. No call returns it.
    #[schema(pattern = "^[!-~]+$", min_length = 8, max_length = 8192, write_only)]
    secret: Option<String>,
    /// Where in Vault the key stays, instead of `secret`: exactly one of the two.
    secret_ref: Option<SecretRef>,
    #[schema(pattern = "^[!-~]([ -~]{0,62}[!-~])?$")]
    usage_tag: Option<String>,
    /// In the future.
    expires_at: Option<Timestamp>,
    /// The provider's host, for providers that give each customer one.
    #[schema(min_length = 1, max_length = 512)]
    endpoint: Option<String>,
    /// Whether it becomes the default of its workspace, provider and environment. The first one does anyway.
    default: Option<bool>,
}

/// A field of a secret in Vault, under a path that `vault.references.allow` permits.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SecretRef {
    /// The engine's mount, where Vault may not be asked for it.
    #[schema(max_length = 512)]
    mount: Option<String>,
    /// The path, the mount included.
    #[schema(min_length = 3, max_length = 512)]
    path: String,
    #[schema(min_length = 1, max_length = 512)]
    field: String,
    /// A fixed version; without one, the latest is followed.
    version: Option<u64>,
}

/// What is to be different about a credential: either its secret, or other things about it.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum CredentialChange {
    Rotation(CredentialRotation),
    Edit(CredentialEdit),
}

/// A new key in place of the old one.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CredentialRotation {
    #[schema(pattern = "^[!-~]+$", min_length = 8, max_length = 8192, write_only)]
    secret: String,
    /// How long the old one can be rolled back to; a day unless said otherwise.
    #[schema(minimum = 0, maximum = 7776000)]
    grace_seconds: Option<u64>,
    /// Whether the provider has to take the new key before it is used.
    check: Option<bool>,
    /// In the future; null takes it away.
    expires_at: Option<Timestamp>,
}

/// Other words about a key. What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CredentialEdit {
    #[schema(pattern = "^[!-~]([ -~]{0,62}[!-~])?$")]
    label: Option<String>,
    /// Null takes it away.
    #[schema(pattern = "^[!-~]([ -~]{0,62}[!-~])?$")]
    usage_tag: Option<String>,
    /// In the future; null takes it away.
    expires_at: Option<Timestamp>,
    /// `true` makes it the default of its workspace, provider and environment.
    default: Option<bool>,
}

/// Where to go back to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialRollback {
    /// The number of a version in grace; the newest unless said otherwise.
    #[schema(minimum = 1, maximum = 4294967295u64)]
    version: Option<u32>,
}

/// A workspace to make.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewWorkspace {
    /// What requests will be tagged with.
    #[schema(pattern = "^[a-z0-9-]{1,64}$")]
    id: String,
    /// For people; the id unless said otherwise.
    #[schema(pattern = r"^[^\u0000-\u001f\u007f-\u009f]{1,200}$")]
    name: Option<String>,
}

/// A token to make.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewToken {
    /// What it is for, or whose. It is never in the audit log.
    #[schema(pattern = r"^[^\u0000-\u001f\u007f-\u009f]{1,200}$")]
    name: String,
    role: Role,
    /// What it is limited to; all workspaces unless said otherwise.
    #[schema(min_items = 1, max_items = 1000)]
    workspaces: Option<Vec<String>>,
    /// In the future; it lasts until it is revoked unless said otherwise.
    expires_at: Option<Timestamp>,
}

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
