//! What may be asked of the registry, in types that hold nothing that would have to be checked again.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use keyside_store::Hash;

use crate::{
    live_check::LiveCheck,
    model::{Credential, Environment, Label, Scope, Status, UsageTag, Warning, WorkspaceId},
    secret::Secret,
    source::VaultReference,
};

/// A secret that was stored, as a new credential or a new version of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// How the credential looks now.
    pub credential: Credential,
    /// What was unusual, and kept nobody from storing it.
    pub warnings: Vec<Warning>,
    /// Whether an earlier request of the same idempotency key has done it, and this one nothing.
    pub repeated: bool,
}

/// A workspace to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWorkspace {
    /// What requests will be tagged with.
    pub id: WorkspaceId,
    /// The name for people: 1 to 200 characters, no control characters.
    pub name: String,
}

/// A credential to store.
pub struct NewCredential {
    /// The workspace that may use it.
    pub workspace: WorkspaceId,
    /// An id of the catalogue.
    pub provider: String,
    /// Unique among the credentials of this workspace and provider that are not revoked.
    pub label: Label,
    /// Whether it costs money.
    pub environment: Environment,
    /// The key itself, or where it stays.
    pub secret: NewSecret,
    /// What it is used for.
    pub usage_tag: Option<UsageTag>,
    /// When it stops being used.
    pub expires_at: Option<Timestamp>,
    /// The provider's host, where each customer has one of their own.
    pub endpoint: Option<String>,
    /// Whether it becomes the default of its workspace, provider and environment. The first one does anyway.
    pub default: bool,
    /// How a repetition of this request is known.
    pub idempotency: Option<Idempotency>,
}

/// The secret of a new credential.
pub enum NewSecret {
    /// This one, to be sealed and stored.
    Given(Secret),
    /// The one that stays in Vault, and is followed there.
    InVault(VaultReference),
}

impl From<Secret> for NewSecret {
    fn from(secret: Secret) -> Self {
        Self::Given(secret)
    }
}

/// A new secret in the place of the one that is used.
pub struct Rotation {
    /// The new key.
    pub secret: Secret,
    /// For how long the old version is kept, to be rolled back to: [`GRACE_DEFAULT`] if nobody says otherwise, at most
    /// [`GRACE_LIMIT`]. With zero it is destroyed with the same stroke.
    pub grace: Duration,
    /// When the credential stops being used from now on, if that changes too: a new key often comes with a new end.
    pub expires_at: Option<Option<Timestamp>>,
    /// The revision that whoever asks has seen; [`ChangeError::Superseded`](crate::ChangeError) when it is another by now.
    pub expected: Option<u64>,
    /// How a repetition of this request is known.
    pub idempotency: Option<Idempotency>,
    /// What the new key has to pass before it is used.
    pub check: Option<Arc<dyn LiveCheck>>,
}

impl Rotation {
    /// With the default grace, unconditionally and unchecked.
    pub fn to(secret: Secret) -> Self {
        Self {
            secret,
            grace: GRACE_DEFAULT,
            expires_at: None,
            expected: None,
            idempotency: None,
            check: None,
        }
    }
}

/// Back to a version that is in grace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollback {
    /// Which one; the newest if nobody says.
    pub to: Option<u32>,
    /// The revision that whoever asks has seen.
    pub expected: Option<u64>,
}

/// What is to be different about a credential. Its workspace, provider, endpoint and environment never are: its secret
/// is sealed for the first three, and what may use it hangs on the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Its name.
    pub label: Option<Label>,
    /// What it is used for, or nothing in particular.
    pub usage_tag: Option<Option<UsageTag>>,
    /// When it stops being used, or never.
    pub expires_at: Option<Option<Timestamp>>,
    /// Whether it is the default. The one that is stays it until another becomes it.
    pub default: Option<bool>,
    /// The revision that whoever asks has seen.
    pub expected: Option<u64>,
}

/// How to withdraw a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revocation {
    /// Whether answers that are still coming in are cut off. Else they go on to their end.
    pub cut: bool,
    /// The revision that whoever asks has seen.
    pub expected: Option<u64>,
}

/// How a request is known again when it is repeated, by the same actor. Kept as long as the version that it made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// What the client chose to tell its requests apart.
    pub key: String,
    /// Of all that it asked for.
    pub request: Hash,
}

/// Which credentials to list; `None` lets all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of the workspaces that are there for whoever asks.
    pub within: Scope,
    /// Of this workspace.
    pub workspace: Option<WorkspaceId>,
    /// For this provider.
    pub provider: Option<String>,
    /// With this status now.
    pub status: Option<Status>,
    /// For this environment.
    pub environment: Option<Environment>,
}

/// For how long a replaced version is kept, unless something else is asked for.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest that may be asked for.
pub const GRACE_LIMIT: Duration = Duration::from_secs(90 * 24 * 60 * 60);
