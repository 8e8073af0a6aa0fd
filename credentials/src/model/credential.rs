//! The views: what may be shown of a workspace and of a credential.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use keyside_config::{VaultReference, Verification};
use serde::{Deserialize, Serialize};

use super::{ActorId, CredentialId, Fingerprint, Hint, Label, UsageTag, WorkspaceId};

/// One credential as it may be shown. There is no way from here to its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The id that everything else refers to.
    pub id: CredentialId,
    /// The workspace that may use it.
    pub workspace: WorkspaceId,
    /// The provider it is for, an id of the catalogue.
    pub provider: Arc<str>,
    /// Unique among the credentials of its workspace and provider that are not revoked.
    pub label: Label,
    /// Whether it costs money.
    pub environment: Environment,
    /// As of now: derived from the time, not from a job that might not have run.
    pub status: Status,
    /// What it is used for.
    pub usage_tag: Option<UsageTag>,
    /// When it stops being used.
    pub expires_at: Option<Timestamp>,
    /// The provider's host, where each customer has one of their own.
    pub endpoint: Option<String>,
    /// Of the current version's secret. `None` only while the credential is damaged, or its secret is kept elsewhere and was
    /// not read.
    pub fingerprint: Option<Fingerprint>,
    /// Likewise.
    pub hint: Option<Hint>,
    /// Who stored it.
    pub created_by: ActorId,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When its secret was last replaced.
    pub last_rotated_at: Option<Timestamp>,
    /// When a request last used it, to within about a second.
    pub last_used_at: Option<Timestamp>,
    /// When its provider last said something of it.
    pub last_verified_at: Option<Timestamp>,
    /// What the last check came to, whether or not the provider answered.
    pub verification: Option<Verification>,
    /// All versions that are still known, oldest first.
    pub versions: Vec<Version>,
    /// Whether it is the default of its workspace, provider and environment.
    pub is_default: bool,
    /// Changes with every change; what an ETag is made of.
    pub revision: u64,
    /// Whether its record failed authentication. What is shown of it is then what the store claims, and nothing of it
    /// is used.
    pub damaged: bool,
    /// What is known of its secret, if that is kept elsewhere: because the settings declare it, and then nothing of it can be
    /// changed here, or because it was stored with a `reference`.
    pub declared: Option<Declared>,
    /// Where in Vault its secret stays, if it was stored without one.
    pub reference: Option<VaultReference>,
}

/// A credential whose record is gone, cut short, or the record of something else. Its workspace's map still names it, and
/// whatever only the record said is not known. Nothing of it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostCredential {
    /// The id that the map has.
    pub id: CredentialId,
    /// The workspace whose map it is.
    pub workspace: WorkspaceId,
    /// Whether a person has revoked it since it was lost.
    pub is_revoked: bool,
    /// Whether it is a default of its workspace, of whatever provider and environment.
    pub is_default: bool,
    /// When a request last used it, to within about a second.
    pub last_used_at: Option<Timestamp>,
    /// Changes with every change; what an ETag is made of.
    pub revision: u64,
}

/// A credential as far as anything is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Its record can be read, whether or not it is believed.
    Known(Box<Credential>),
    /// It cannot.
    Lost(LostCredential),
}

impl Listed {
    /// Its id.
    pub fn id(&self) -> &CredentialId {
        match self {
            Self::Known(credential) => &credential.id,
            Self::Lost(lost) => &lost.id,
        }
    }

    /// The workspace that it is in.
    pub fn workspace(&self) -> &WorkspaceId {
        match self {
            Self::Known(credential) => &credential.workspace,
            Self::Lost(lost) => &lost.workspace,
        }
    }

    /// What lists are ordered by: as [`Credential::list_order`] says, and in each workspace those that are lost come last. No
    /// two compare as equal.
    pub fn list_order(
        &self,
    ) -> (
        &WorkspaceId,
        bool,
        &str,
        Option<&Label>,
        Option<Timestamp>,
        &CredentialId,
    ) {
        match self {
            Self::Known(credential) => {
                let (workspace, provider, label, created_at, id) = credential.list_order();
                (
                    workspace,
                    false,
                    provider,
                    Some(label),
                    Some(created_at),
                    id,
                )
            }
            Self::Lost(lost) => (&lost.workspace, true, "", None, None, &lost.id),
        }
    }
}

/// What is known of a secret that is kept outside of Keyside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Where, as the settings have it.
    pub source: String,
    /// The version that is used, as the source counts.
    pub version: Option<String>,
    /// Why it was not read the last time.
    pub fault: Option<String>,
}

impl Credential {
    /// What lists are ordered by: workspace, provider and label, then age, since revoked credentials have labels that others
    /// may have too. No two credentials compare as equal.
    pub fn list_order(&self) -> (&WorkspaceId, &str, &Label, Timestamp, &CredentialId) {
        let Self {
            workspace,
            provider,
            label,
            created_at,
            id,
            ..
        } = self;
        (workspace, provider, label, *created_at, id)
    }
}

/// Whether a credential costs money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// The provider's real service.
    Live,
    /// A sandbox, or a key that is only for tests.
    Sandbox,
}

impl Environment {
    /// `live` or `sandbox`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Sandbox => "sandbox",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What may be done with a credential now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Used.
    Active,
    /// Used, and inside the threshold before its end.
    Expiring,
    /// Past its end.
    Expired,
    /// Withdrawn by a person, for good.
    Revoked,
}

impl Status {
    /// All of them, in the order a table shows them.
    pub const ALL: [Self; 4] = [Self::Active, Self::Expiring, Self::Expired, Self::Revoked];

    /// `active`, `expiring`, `expired` or `revoked`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One version of a credential's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Counts from 1.
    pub number: u32,
    /// Where it stands.
    pub state: VersionState,
    /// When it was stored.
    pub created_at: Timestamp,
    /// Until when it can be rolled back to, while it is in grace.
    pub grace_until: Option<Timestamp>,
}

/// Where a version stands on its way from being stored to being gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// Stored, not used yet.
    Staged,
    /// The one that is used.
    Current,
    /// Replaced, and can still be rolled back to.
    Grace,
    /// Its sealed bytes are gone.
    Destroyed,
}

/// One workspace as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// What requests are tagged with.
    pub id: WorkspaceId,
    /// The name for people.
    pub name: String,
    /// Who made it.
    pub created_by: ActorId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Random, and never that of another workspace: one that is made after this one was erased may have its id.
    pub incarnation: u64,
    /// Changes with every change.
    pub revision: u64,
    /// Whether its record failed authentication; none of its credentials is used then.
    pub damaged: bool,
}

/// A state of a workspace that someone saw. No other state has the same, nor has any of another workspace that had or gets
/// the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkspaceState {
    /// Which one of its id it was.
    pub incarnation: u64,
    /// How often it had changed.
    pub revision: u64,
}
