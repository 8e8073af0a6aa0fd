//! Views: what may be shown of a workspace and of a credential.

use jiff::Timestamp;
use keyside_config::{EnvironmentPin, ProviderId, VaultReference, Verification};
use serde::{Deserialize, Serialize};

use super::{
    ActorId, CredentialId, Fingerprint, Hint, Label, Limits, Rejection, Usage, UsageTag,
    WorkspaceId, named,
};

/// A credential as it may be shown. Gives no access to its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The credential's id.
    pub id: CredentialId,
    /// The workspace that may use it.
    pub workspace: WorkspaceId,
    /// The provider. The catalogue may not have it any more.
    pub provider: ProviderId,
    /// Unique among the credentials of its workspace and provider that are not revoked.
    pub label: Label,
    /// Whether using it costs money.
    pub environment: Environment,
    /// The status now, derived from the clock rather than set by a job.
    pub status: Status,
    /// Purpose, as given by its creator.
    pub usage_tag: Option<UsageTag>,
    /// When requests stop using it; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// The provider's URL, if each customer has one of their own.
    pub endpoint: Option<String>,
    /// What requests may spend in a day.
    pub limits: Limits,
    /// What they have spent today; `None` without a limit.
    pub usage: Option<Usage>,
    /// Fingerprint of the current version's secret. `None` while the credential is damaged, or its
    /// secret is kept elsewhere and was not read.
    pub fingerprint: Option<Fingerprint>,
    /// Hint of the current version's secret; `None` in the same cases.
    pub hint: Option<Hint>,
    /// The actor that created it.
    pub created_by: ActorId,
    /// Time of creation.
    pub created_at: Timestamp,
    /// When its secret was last replaced.
    pub last_rotated_at: Option<Timestamp>,
    /// When a request last used it, to within about a second.
    pub last_used_at: Option<Timestamp>,
    /// When the provider last gave a verdict on the secret in use.
    pub last_verified_at: Option<Timestamp>,
    /// The result of the last live check of the secret in use, whether or not the provider
    /// answered.
    pub verification: Option<Verification>,
    /// Set while the provider rejects its secret in traffic.
    pub rejection: Option<Rejection>,
    /// The known versions, oldest first.
    pub versions: Vec<Version>,
    /// Whether it is the default of its workspace, provider and environment.
    pub is_default: bool,
    /// Increases with every change; used in ETags.
    pub revision: u64,
    /// Whether its record failed authentication. The other fields are then what the store claims,
    /// and the credential is not used.
    pub damaged: bool,
    /// The state of a secret that is kept elsewhere: the settings declare the credential, which
    /// then cannot be changed here, or it was created with a `reference`.
    pub declared: Option<Declared>,
    /// The secret's place in Vault, if the credential was created with one.
    pub reference: Option<VaultReference>,
}

/// A credential whose record is missing, truncated, or belongs to something else. The workspace's
/// map still names it; everything that only the record said is unknown. It is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostCredential {
    /// The id in the map.
    pub id: CredentialId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Whether it was revoked after it was lost.
    pub is_revoked: bool,
    /// Whether it is a default of its workspace, for any provider and environment.
    pub is_default: bool,
    /// When a request last used it, to within about a second.
    pub last_used_at: Option<Timestamp>,
    /// Increases with every change; used in ETags.
    pub revision: u64,
}

/// A credential in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Its record can be read, trusted or not.
    Known(Box<Credential>),
    /// Its record cannot be read.
    Lost(LostCredential),
}

impl Listed {
    /// The credential's id.
    pub fn id(&self) -> &CredentialId {
        match self {
            Self::Known(credential) => &credential.id,
            Self::Lost(lost) => &lost.id,
        }
    }

    /// The credential's workspace.
    pub fn workspace(&self) -> &WorkspaceId {
        match self {
            Self::Known(credential) => &credential.workspace,
            Self::Lost(lost) => &lost.workspace,
        }
    }

    /// The order of lists: as [`Credential::list_order`], with lost credentials last in each
    /// workspace. No two are equal.
    pub fn list_order(&self) -> impl Ord {
        let known = match self {
            Self::Known(credential) => Some(credential.list_order()),
            Self::Lost(_) => None,
        };
        (self.workspace(), known.is_none(), known, self.id())
    }
}

/// The state of a secret that is kept outside of Keyside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Where it is kept, as in the settings.
    pub source: String,
    /// The version in use, by the source's count.
    pub version: Option<String>,
    /// Why the last read failed.
    pub fault: Option<String>,
}

impl Credential {
    /// The order of lists: workspace, provider, label, then age, because revoked credentials may
    /// share a label. No two are equal.
    pub fn list_order(&self) -> (&WorkspaceId, &str, &Label, Timestamp, &CredentialId) {
        let (workspace, label) = (&self.workspace, &self.label);
        (workspace, &self.provider, label, self.created_at, &self.id)
    }
}

named! {
    /// Whether using a credential costs money.
    pub enum Environment {
        /// The provider's real service.
        Live = "live",
        /// A sandbox, or a key for tests.
        Sandbox = "sandbox",
    }
}

impl Environment {
    /// Whether a listener or setting with this pin may use it.
    pub(crate) fn is_allowed_by(self, pin: EnvironmentPin) -> bool {
        match pin {
            EnvironmentPin::Any => true,
            EnvironmentPin::Sandbox => self == Self::Sandbox,
            EnvironmentPin::Live => self == Self::Live,
        }
    }
}

named! {
    /// Whether a credential can be used now.
    pub enum Status {
        /// In use.
        Active = "active",
        /// In use, and within the threshold before its expiry.
        Expiring = "expiring",
        /// Its expiry has passed.
        Expired = "expired",
        /// Revoked, which is final.
        Revoked = "revoked",
    }
}

/// One version of a credential's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The number, from 1.
    pub number: u32,
    /// The state.
    pub state: VersionState,
    /// Time of creation.
    pub created_at: Timestamp,
    /// End of the grace period, while it is in grace.
    pub grace_until: Option<Timestamp>,
    /// When it stopped being usable for good, if it is destroyed.
    pub destroyed_at: Option<Timestamp>,
}

/// The life cycle of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// In use.
    Current,
    /// Replaced; can still be rolled back to.
    Grace,
    /// Its sealed bytes were removed.
    Destroyed,
}

/// A workspace as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// The id that requests are tagged with.
    pub id: WorkspaceId,
    /// The display name.
    pub name: String,
    /// What requests with all its credentials may spend in a day.
    pub limits: Limits,
    /// What they have spent today; `None` without a limit.
    pub usage: Option<Usage>,
    /// The actor that created it.
    pub created_by: ActorId,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Counts the workspaces that had this id, from 1; 0 for a workspace of the settings.
    pub incarnation: u64,
    /// Increases with every change.
    pub revision: u64,
    /// Whether its record failed authentication; then none of its credentials is used.
    pub damaged: bool,
}

/// A state of a workspace that a caller has seen. Unique, even among later workspaces with the same
/// id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkspaceState {
    /// The workspace's incarnation.
    pub incarnation: u64,
    /// The workspace's revision.
    pub revision: u64,
}
