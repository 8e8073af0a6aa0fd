//! A credential on the wire: what creates it, what changes it, and its view.

use jiff::Timestamp;
use keyside_config::ProviderId;
use keyside_credentials::{
    ActorId, CredentialId, Environment, Fingerprint, Hint, Label, RejectionCause, Secret, Status,
    TrafficState, UsageTag, Verification, VersionState, WorkspaceId, source::VaultReference,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use utoipa::ToSchema;

use super::{
    check::{CheckMode, CheckView},
    limits::{self, Limits, LimitsEdit, UsageView},
    read::{FromText, nullable, optional, optional_text, required, text, within},
};
use crate::schemas::types;

/// A provider key to store.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewCredential {
    /// The workspace that may use the credential.
    #[serde(deserialize_with = "required")]
    #[schema(value_type = types::WorkspaceId)]
    pub workspace_id: WorkspaceId,
    /// The id of a provider in the catalogue.
    #[serde(deserialize_with = "text::<_, 64>")]
    pub provider: String,
    /// Unique among the credentials of the workspace and provider that are not revoked.
    #[serde(deserialize_with = "required")]
    #[schema(value_type = types::Label)]
    pub label: Label,
    /// `live` by default.
    #[schema(value_type = Option<types::Environment>)]
    pub environment: Option<Environment>,
    /// The key itself. Exactly one of `secret` and `secretRef` is required. Keys of fewer than 8
    /// bytes could not be masked in responses. No call returns it.
    #[serde(default, deserialize_with = "optional")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        value_type = Option<String>,
        pattern = "^[!-~]+$",
        min_length = 8,
        max_length = 8192,
        write_only
    )]
    pub secret: Option<WriteOnly>,
    /// The field in Vault that holds the key, instead of `secret`.
    #[serde(default, deserialize_with = "secret_ref")]
    pub secret_ref: Option<SecretRef>,
    /// What the credential is used for.
    #[serde(default, deserialize_with = "optional")]
    #[schema(value_type = Option<types::UsageTag>)]
    pub usage_tag: Option<UsageTag>,
    /// When requests stop using the credential. In the future.
    #[serde(default, deserialize_with = "optional")]
    pub expires_at: Option<Timestamp>,
    /// The provider's base URL, for providers with one per customer (Azure OpenAI).
    #[serde(default, deserialize_with = "optional_text::<_, 512>")]
    #[schema(min_length = 1, max_length = 512)]
    pub endpoint: Option<String>,
    /// What requests may spend in a UTC day.
    #[serde(default, deserialize_with = "limits::given")]
    pub limits: Option<Limits>,
    /// Makes it the default of its workspace, provider and environment. The first credential always
    /// is.
    pub default: Option<bool>,
    /// Whether the provider is asked about the secret first; `skip` by default.
    pub check: Option<CheckMode>,
    /// Whether that check is a minimal prompt, which costs a few tokens; false by default.
    pub prompt: Option<bool>,
}

/// What changes a credential: either its secret, or its metadata.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(
    dead_code,
    reason = "only described: `secret` decides which of the two a body is read as"
)]
pub(crate) enum CredentialChange {
    Rotation(CredentialRotation),
    Edit(CredentialEdit),
}

/// A new secret that replaces the current one.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CredentialRotation {
    /// The new key. No call returns it.
    #[serde(default, deserialize_with = "optional")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        required = true,
        value_type = String,
        pattern = "^[!-~]+$",
        min_length = 8,
        max_length = 8192,
        write_only
    )]
    pub secret: Option<WriteOnly>,
    /// How long the old secret is kept for a rollback, in seconds; 86400 (a day) by default.
    #[serde(default, deserialize_with = "within::<_, _, 0, 7_776_000>")]
    #[schema(minimum = 0, maximum = 7776000)]
    pub grace_seconds: Option<u64>,
    /// Whether the provider is asked about the new secret first; `skip` by default.
    pub check: Option<CheckMode>,
    /// Whether that check is a minimal prompt, which costs a few tokens; false by default.
    pub prompt: Option<bool>,
    /// When requests stop using the credential. In the future; null removes the expiry.
    #[serde(default, deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Timestamp>)]
    pub expires_at: Option<Option<Timestamp>>,
}

/// Changes to the metadata of a credential. Fields that are absent stay as they are.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CredentialEdit {
    /// Unique among the credentials of the workspace and provider that are not revoked.
    #[serde(default, deserialize_with = "optional")]
    #[schema(value_type = Option<types::Label>)]
    pub label: Option<Label>,
    /// What the credential is used for; null removes the tag.
    #[serde(default, deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::UsageTag>)]
    pub usage_tag: Option<Option<UsageTag>>,
    /// When requests stop using the credential. In the future; null removes the expiry.
    #[serde(default, deserialize_with = "nullable")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Timestamp>)]
    pub expires_at: Option<Option<Timestamp>>,
    /// What requests may spend in a UTC day; null removes all limits.
    #[serde(default, deserialize_with = "limits::changed")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsEdit>,
    /// `true` makes it the default of its workspace, provider and environment.
    pub default: Option<bool>,
}

/// The version to make current again.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialRollback {
    /// The number of a version in grace; the newest by default.
    #[serde(default, deserialize_with = "within::<_, _, 1, 4_294_967_295>")]
    #[schema(minimum = 1, maximum = 4294967295u64)]
    pub version: Option<u32>,
}

/// A field of a secret in Vault, under a path that `vault.references.allow` permits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// The mount of the engine, where Vault does not let Keyside look it up.
    #[schema(max_length = 512)]
    pub mount: Option<String>,
    /// The path of the secret, with the mount in front.
    #[schema(min_length = 3, max_length = 512)]
    pub path: String,
    /// The field that holds the key.
    #[schema(min_length = 1, max_length = 512)]
    pub field: String,
    /// A fixed version; by default Keyside follows the latest.
    pub version: Option<u64>,
}

/// A credential without its secret. Fields without a value are null, so that the shape is always
/// the same.
///
/// `provider`, `label`, `environment`, `createdBy` and `createdAt` are null only if the stored
/// record cannot be read; `damaged` is then true. `status` is null then too, until the credential
/// is revoked.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialView {
    /// The id that requests and the audit log use.
    #[schema(value_type = String)]
    pub id: CredentialId,
    /// The workspace that may use the credential.
    #[schema(value_type = types::WorkspaceId)]
    pub workspace_id: WorkspaceId,
    /// The id of a provider in the catalogue.
    #[schema(value_type = Option<String>)]
    pub provider: Option<ProviderId>,
    /// Unique among the credentials of the workspace and provider that are not revoked.
    #[schema(value_type = Option<types::Label>)]
    pub label: Option<Label>,
    /// Whether requests with the credential cost money.
    #[schema(value_type = Option<types::Environment>)]
    pub environment: Option<Environment>,
    /// Whether requests can use the credential now.
    #[schema(value_type = Option<types::Status>)]
    pub status: Option<Status>,
    /// Whether it is the default of its workspace, provider and environment.
    pub is_default: bool,
    /// What the credential is used for.
    #[schema(value_type = Option<types::UsageTag>)]
    pub usage_tag: Option<UsageTag>,
    /// When requests stop using the credential.
    pub expires_at: Option<Timestamp>,
    /// The provider's base URL, for providers with one per customer.
    pub endpoint: Option<String>,
    /// What requests may spend in a UTC day; null without a limit.
    pub limits: Option<Limits>,
    /// What they have spent today; null without a limit.
    pub usage: Option<UsageView>,
    /// `sha256:` and the first 16 hex digits of the SHA-256 of the current secret.
    #[schema(value_type = Option<String>)]
    pub fingerprint: Option<Fingerprint>,
    /// The usual prefix of the provider's keys and the last four characters of the current secret.
    #[schema(value_type = Option<String>)]
    pub hint: Option<Hint>,
    /// The token that stored the credential.
    #[schema(value_type = Option<String>)]
    pub created_by: Option<ActorId>,
    /// When the credential was stored.
    pub created_at: Option<Timestamp>,
    /// When the secret was last replaced.
    pub last_rotated_at: Option<Timestamp>,
    /// When a request last used the credential, to within about a second.
    pub last_used_at: Option<Timestamp>,
    /// When the provider last gave a verdict on the current secret.
    pub last_verified_at: Option<Timestamp>,
    /// The verdict of the last live check of the current secret.
    #[schema(value_type = Option<types::Verification>)]
    pub verification: Option<Verification>,
    /// Whether the provider accepts the current secret in traffic. Null if the stored record cannot
    /// be read.
    pub traffic: Option<TrafficView>,
    /// The last live check of the current secret. Null in lists.
    pub check: Option<CheckView>,
    /// All versions of the secret, oldest first.
    pub versions: Vec<VersionView>,
    /// The field in Vault that holds the secret, if the credential was stored with a reference.
    pub secret_ref: Option<SecretRef>,
    /// The file or the Vault path that holds the secret, if Keyside does not store it. The secret
    /// is changed there.
    pub source: Option<String>,
    /// The version that requests use, in the numbering of the source.
    pub source_version: Option<String>,
    /// Why the last read of the source failed.
    pub source_fault: Option<String>,
    /// Whether the stored record failed authentication or cannot be read. The other fields then
    /// show what the record claims.
    pub damaged: bool,
    /// Problems that did not stop the request, each with a remedy.
    pub warnings: Vec<String>,
    /// Other credentials with the same secret. Null in lists, and for tokens that are limited to
    /// workspaces.
    pub duplicates: Option<Vec<Duplicate>>,
}

/// Whether a provider accepts a secret in traffic. A success ends `rejected`, and so does a rotation.
/// An outage of the provider, a rate limit and a missing permission are none of this.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficView {
    /// `ok` unless the provider rejected the secret, and has accepted no request with it since.
    #[schema(value_type = types::TrafficState)]
    pub state: TrafficState,
    /// When the provider first rejected it; null while `ok`.
    pub since: Option<Timestamp>,
    /// How many requests it has rejected since then.
    pub count: u64,
    /// Why it rejected the last one; null while `ok`.
    #[schema(value_type = Option<types::RejectionCause>)]
    pub cause: Option<RejectionCause>,
}

/// Another credential with the same secret.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Duplicate {
    /// Its id.
    #[schema(value_type = String)]
    pub id: CredentialId,
    /// The workspace that may use it.
    #[schema(value_type = types::WorkspaceId)]
    pub workspace_id: WorkspaceId,
    /// The id of its provider in the catalogue.
    #[schema(value_type = String)]
    pub provider: ProviderId,
    /// Its label.
    #[schema(value_type = types::Label)]
    pub label: Label,
    /// Its status: if it is revoked, the secret was in use until then.
    #[schema(value_type = types::Status)]
    pub status: Status,
}

/// A version of a credential's secret.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionView {
    /// Counts from 1.
    pub number: u32,
    /// Whether requests use it, and whether a rollback can bring it back.
    #[schema(value_type = types::VersionState)]
    pub state: VersionState,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When a version in grace is destroyed.
    pub grace_until: Option<Timestamp>,
    /// For the current version of a secret in Vault: the version there.
    pub source_version: Option<String>,
}

/// A secret in the body of a request. It is read from a body, and serializing it fails: the command
/// line writes the secret itself, into a buffer that never grows and is wiped.
pub struct WriteOnly(pub(crate) Secret);

impl Serialize for WriteOnly {
    fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("a secret is never written"))
    }
}

impl FromText for WriteOnly {
    fn from_text(text: &str) -> Result<Self, String> {
        // An exact copy, which `Secret` wipes.
        let secret = Secret::from_plaintext(text.as_bytes().to_vec());
        secret.map(Self).map_err(|error| error.to_string())
    }
}

impl SecretRef {
    /// The place in Vault that it names; nothing if no secret can have this path and field.
    pub(crate) fn reference(&self) -> Option<VaultReference> {
        let fits = |text: &str| text.len() <= 512 && !text.chars().any(char::is_control);
        let Self {
            mount,
            path,
            field,
            version,
        } = self;
        let texts = [Some(path), Some(field), mount.as_ref()];
        if !texts.into_iter().flatten().all(|text| fits(text)) {
            return None;
        }
        VaultReference::new(mount.as_deref(), path, field, *version).ok()
    }
}

/// A field in Vault that may be absent or null.
fn secret_ref<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretRef>, D::Error> {
    let expected = || {
        D::Error::custom(
            "expected an object with `path`, such as kv/teams/acme/openai with the mount in front, and `field`; `mount` and \
             `version` are optional",
        )
    };
    let read = Option::<SecretRef>::deserialize(from).map_err(|_| expected())?;
    match read {
        Some(read) if read.reference().is_none() => Err(expected()),
        read => Ok(read),
    }
}
