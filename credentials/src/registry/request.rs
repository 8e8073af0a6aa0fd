//! Validated requests to the registry.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use keyside_config::ProviderId;
use keyside_store::Hash;

use crate::{
    live_check::{Finding, LiveCheck},
    model::{
        Credential, DisplayName, Environment, Label, Limits, LimitsChange, Scope, Status, UsageTag,
        Warning, WorkspaceId, WorkspaceState,
    },
    secret::Secret,
    source::VaultReference,
};

/// The result of creating, rotating or editing a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The credential after the change.
    pub credential: Credential,
    /// Warnings that did not prevent the change.
    pub warnings: Vec<Warning>,
    /// Whether an earlier request with the same idempotency key made the change.
    pub repeated: bool,
    /// What the provider said before the secret was stored, if it was asked.
    pub finding: Option<Finding>,
}

/// The attributes of a workspace to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWorkspace {
    /// The id that requests will be tagged with.
    pub id: WorkspaceId,
    /// The name for people.
    pub name: DisplayName,
}

/// A request to edit a workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkspaceEdit {
    /// What requests with all its credentials may spend in a day.
    pub limits: LimitsChange,
    /// The state that the caller has seen.
    pub expected: Option<WorkspaceState>,
}

/// The attributes of a credential to create.
pub struct NewCredential {
    /// The workspace that may use it.
    pub workspace: WorkspaceId,
    /// The provider's id, as the caller wrote it: only the catalogue says whether it is one.
    pub provider: String,
    /// Unique among the credentials of this workspace and provider that are not revoked.
    pub label: Label,
    /// Whether using it costs money.
    pub environment: Environment,
    /// The key, or its place in Vault.
    pub secret: NewSecret,
    /// What it is used for, such as `ci-smoke`.
    pub usage_tag: Option<UsageTag>,
    /// When requests stop using it; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// The provider's URL, if each customer has one of their own.
    pub endpoint: Option<String>,
    /// What requests may spend in a day.
    pub limits: Limits,
    /// Whether it becomes the default of its workspace, provider and environment. The first one
    /// always does.
    pub default: bool,
    /// Recognises a repeated request.
    pub idempotency: Option<Idempotency>,
    /// Whether the provider is asked first.
    pub check: CheckBeforeSave,
}

impl NewCredential {
    /// A live credential without further options or a check.
    pub fn new(
        workspace: WorkspaceId,
        provider: &str,
        label: Label,
        secret: impl Into<NewSecret>,
    ) -> Self {
        Self {
            workspace,
            provider: provider.to_owned(),
            label,
            environment: Environment::Live,
            secret: secret.into(),
            usage_tag: None,
            expires_at: None,
            endpoint: None,
            limits: Limits::default(),
            default: false,
            idempotency: None,
            check: CheckBeforeSave::Skip,
        }
    }
}

/// Whether the provider is asked about a secret before it is stored. No lock is held meanwhile.
#[derive(Clone, Default)]
pub enum CheckBeforeSave {
    /// It is not asked.
    #[default]
    Skip,
    /// It is asked, and the secret is stored whatever it says.
    Try(Arc<dyn LiveCheck>),
    /// It is asked, and the secret is stored only if it [can be used](Finding::is_usable).
    Required(Arc<dyn LiveCheck>),
}

/// The secret of a new credential.
pub enum NewSecret {
    /// A secret to seal and store.
    Given(Secret),
    /// A secret that is kept in Vault and followed there.
    InVault(VaultReference),
}

impl From<Secret> for NewSecret {
    fn from(secret: Secret) -> Self {
        Self::Given(secret)
    }
}

/// A request to replace the secret in use.
pub struct Rotation {
    /// The new secret.
    pub secret: Secret,
    /// How long the previous version can be rolled back to: [`GRACE_DEFAULT`] by default, at most
    /// [`GRACE_LIMIT`]. With zero it is destroyed at once.
    pub grace: Duration,
    /// The credential's new expiry, if it changes.
    pub expires_at: Option<Option<Timestamp>>,
    /// The revision that the caller has seen; if it is not current,
    /// [`ChangeError::Superseded`](crate::ChangeError).
    pub expected: Option<u64>,
    /// Recognises a repeated request.
    pub idempotency: Option<Idempotency>,
    /// Whether the provider is asked about the new secret first.
    pub check: CheckBeforeSave,
}

impl Rotation {
    /// A rotation with the default grace period, without conditions or checks.
    pub fn to(secret: Secret) -> Self {
        Self {
            secret,
            grace: GRACE_DEFAULT,
            expires_at: None,
            expected: None,
            idempotency: None,
            check: CheckBeforeSave::Skip,
        }
    }
}

/// A request to roll back to a version in grace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollback {
    /// The version's number; the newest if `None`.
    pub to: Option<u32>,
    /// The revision that the caller has seen.
    pub expected: Option<u64>,
}

/// A request to edit a credential. Workspace, provider, endpoint and environment are fixed: the
/// secret is sealed for the first three, and the last decides which listeners may use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// The new label.
    pub label: Option<Label>,
    /// The new purpose; `Some(None)` for none.
    pub usage_tag: Option<Option<UsageTag>>,
    /// The new expiry; `Some(None)` for never.
    pub expires_at: Option<Option<Timestamp>>,
    /// What requests may spend in a day.
    pub limits: LimitsChange,
    /// `true` makes it the default. A default can only be replaced by another.
    pub default: Option<bool>,
    /// The revision that the caller has seen.
    pub expected: Option<u64>,
}

/// A request to revoke a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revocation {
    /// Whether to cut off responses in progress.
    pub cut: bool,
    /// The revision that the caller has seen.
    pub expected: Option<u64>,
}

/// Recognises a repeated request of the same actor. Stored as long as the version that the request
/// created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's idempotency key.
    pub key: String,
    /// SHA-256 of the whole request.
    pub request: Hash,
}

/// Selects credentials; `None` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The workspaces that the caller may see.
    pub within: Scope,
    /// In this workspace.
    pub workspace: Option<WorkspaceId>,
    /// For this provider.
    pub provider: Option<ProviderId>,
    /// With this status now.
    pub status: Option<Status>,
    /// For this environment.
    pub environment: Option<Environment>,
}

/// The default grace period of a replaced version.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest grace period.
pub const GRACE_LIMIT: Duration = Duration::from_secs(90 * 24 * 60 * 60);
