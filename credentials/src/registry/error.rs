//! Why the registry did not open, or did not change.

use std::path::{Path, PathBuf};

use keyside_config::{EndpointError, VaultReference, Verification};
use keyside_store::{
    StorageError,
    chain::{Damage, LoadError},
    file::FileError,
};

use super::request::GRACE_LIMIT;
use crate::{keyring::KeyringError, kms::KmsError, live_check::Finding, model::Label};

/// Why a change was not made. None of them leaves anything changed, but for three: see
/// [`ChangeError::ErasingUnfinished`], [`ChangeError::OutcomeUnknown`], and [`ChangeError::CheckFailed`], which leaves the
/// version that was tried, destroyed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// No such workspace: a typing error must not make one.
    #[error("there is no such workspace")]
    WorkspaceUnknown,
    /// The id is taken.
    #[error("there is a workspace of this id already")]
    WorkspaceExists,
    /// A name nobody could read in a table.
    #[error("a name is 1 to 200 characters without control characters")]
    NameUnfit,
    /// Not in the catalogue.
    #[error("the catalogue has no such provider")]
    ProviderUnknown,
    /// Labels are unique among the credentials of a workspace and provider that are not revoked.
    #[error("the workspace has a credential labelled {label:?} for this provider already")]
    LabelTaken {
        /// The label.
        label: Label,
    },
    /// The provider gives each customer a host.
    #[error("this provider needs an endpoint, such as {example}")]
    EndpointMissing {
        /// What one looks like.
        example: String,
    },
    /// A host that is not the provider's.
    #[error(transparent)]
    EndpointRefused(#[from] EndpointError),
    /// The provider has one host for all.
    #[error("this provider takes no endpoint")]
    EndpointNotTaken,
    /// A key that administers, or that is a person's own: its provider's catalogue entry says which are never stored.
    #[error("{why}")]
    SecretOfOtherKind {
        /// What it is, and what to make instead, in a sentence or two.
        why: String,
    },
    /// It would never be used.
    #[error("the expiry lies in the past")]
    ExpiryPast,
    /// No such credential.
    #[error("there is no such credential")]
    CredentialUnknown,
    /// The settings declare it.
    #[error("it is declared in the settings, and changed there")]
    Declared,
    /// Its secret is not kept here, so it is not replaced here.
    #[error("its secret is kept in Vault ({reference}), and replaced there")]
    KeptInVault {
        /// Where.
        reference: VaultReference,
    },
    /// It is stored here, so there is nowhere else to read its secret.
    #[error("its secret is stored here, and not kept in Vault")]
    NotKeptInVault,
    /// The settings do not let this workspace's credentials name that path.
    #[error("{}", not_permitted(allowed))]
    ReferenceNotAllowed {
        /// The prefixes that are allowed.
        allowed: Vec<String>,
    },
    /// A new credential's secret is not where it is said to be, may not be read, or is no secret.
    #[error("{reason}")]
    ReferenceRefused {
        /// Names the place and the remedy.
        reason: String,
    },
    /// Nobody can tell now what is kept there.
    #[error("the secret was not read: {reason}")]
    SecretUnread {
        /// Names the place and the remedy.
        reason: String,
    },
    /// No such token.
    #[error("there is no such token")]
    TokenUnknown,
    /// Without it nobody could give access any more.
    #[error("it is the last token that owns everything")]
    LastOwner,
    /// Withdrawn while the request was on its way.
    #[error("the token that asks is not good any more")]
    AccessEnded,
    /// Nobody gives more than they have.
    #[error("whoever is limited to workspaces names the ones that the token is for")]
    ScopeExceeded,
    /// Somebody else has changed it since whoever asks has looked.
    #[error("it has changed meanwhile")]
    Superseded {
        /// The revision it has now.
        current: u64,
    },
    /// The key was used for another request before.
    #[error("the idempotency key was used for another request already")]
    IdempotencyKeyReused,
    /// Withdrawn is withdrawn: its secret is destroyed.
    #[error("the credential was revoked, which is final")]
    Revoked,
    /// Longer than [`GRACE_LIMIT`].
    #[error("an old version is kept for at most {} days", GRACE_LIMIT.as_secs() / 86_400)]
    GraceTooLong,
    /// The graces have ended, or it was never rotated.
    #[error("no earlier version is left to roll back to")]
    NothingInGrace,
    /// More are kept for no credential.
    #[error(
        "50 earlier versions are in grace already: rotate with a grace of 0, which keeps none, or wait until one has ended"
    )]
    TooManyInGrace,
    /// Current, staged, destroyed, or never there.
    #[error("version {number} is not one that can be rolled back to")]
    VersionNotInGrace {
        /// Its number.
        number: u32,
    },
    /// The new secret did not pass, and was destroyed. The one before is used as ever.
    #[error("{}; the new secret was not put in place", not_taken(.0))]
    CheckFailed(Finding),
    /// What the provider said is about a secret that is not the one in use any more.
    #[error("another secret took its place while the provider was asked")]
    Replaced,
    /// A default gives way only to another.
    #[error("it is the default, and stays it until another credential becomes the default instead")]
    DefaultNeeded,
    /// What is stored failed authentication, so nothing is built on it.
    #[error("the stored record failed authentication and cannot be changed")]
    Damaged,
    /// The id cannot be used: what is stored of its chain, which outlives each workspace of the id, failed authentication.
    #[error("what is stored under this id is not believed: {0}")]
    ChainDamaged(Damage),
    /// The id cannot be used: there is a copy of the head of a workspace that this installation has never had.
    #[error(
        "{file} in the data folder is in the way: it is the head of a workspace that this installation has never had"
    )]
    HeadInTheWay {
        /// The file, as the data folder has it.
        file: String,
    },
    /// The master key stands where only a person can replace it.
    #[error(transparent)]
    MasterKeyFixed(KmsError),
    /// It is on record that the workspace is erased, and something of it could not be removed yet. That is done before the
    /// next change, or at the next start; asking again gives the receipt.
    #[error("the workspace is erased, and not all of it is gone yet: {0}")]
    ErasingUnfinished(#[source] StorageError),
    /// Another process has changed the same thing again and again meanwhile. Nothing has changed.
    #[error(
        "others have changed it meanwhile, each time before this change could be made: try again"
    )]
    Raced,
    /// As many documents as a chain takes.
    #[error("there are as many as there can be: 32,768 in a workspace")]
    TooMany,
    /// The store did not say whether it took the change. What is listed tells, once the store answers again.
    #[error(
        "whether the change was made is not known yet ({error}): look at what is listed before trying again"
    )]
    OutcomeUnknown {
        /// The commit that it would be.
        seq: u64,
        /// What the store said.
        error: StorageError,
    },
    /// The store or the keyring cannot be written. Nothing has changed.
    #[error("the change could not be recorded: {0}")]
    StoreUnavailable(#[from] StorageError),
}

fn not_taken(finding: &Finding) -> String {
    match (finding.verification, finding.status) {
        (Verification::Rejected, Some(status)) => format!("the provider refuses it with {status}"),
        (_, Some(status)) => {
            format!("the provider answers {status}, which says nothing of the key")
        }
        (_, None) => "the provider does not answer".to_owned(),
    }
}

fn not_permitted(allowed: &[String]) -> String {
    match allowed {
        [] => "the setting vault.references.allow permits no paths; add a prefix such as \"kv/teams/{workspace}/\" to it"
            .to_owned(),
        allowed => format!(
            "the setting vault.references.allow does not permit this path; name one under {}, or extend the setting",
            allowed.join(" or ")
        ),
    }
}

/// Where the master key stands is for a person to change; apart from that, a keyring that cannot be replaced is storage
/// that cannot be written.
impl From<KeyringError> for ChangeError {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Kms(error @ (KmsError::NotAFile | KmsError::NotReplaceable(_))) => {
                Self::MasterKeyFixed(error)
            }
            error => Self::StoreUnavailable(error.into()),
        }
    }
}

/// Why the registry cannot be opened. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Storage fails: a full disk, a store that is away.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The keyring: damaged, or wrapped with another master key.
    #[error(transparent)]
    Keyring(KeyringError),
    /// There is data that only a keyring opens, and no keyring.
    #[error(
        "the keyring {} is missing, and the store is not empty: nothing in it can be opened without. Restore that file \
         from a backup, or move the data folder aside to begin anew",
        path.display()
    )]
    KeyringMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// There are workspace keys, and nothing that they could open.
    #[error(
        "the store is empty, and the keyring {} has keys of workspaces that were in it. Restore the whole data folder \
         from a backup, or move it aside to begin anew",
        keyring.display()
    )]
    StoreMissing {
        /// What tells.
        keyring: PathBuf,
    },
    /// The store is not the one in which the last changes were acknowledged, or the head of its own chain is not what was
    /// written.
    #[error(
        "the installation's own chain is not believed: {damage}{}",
        remedy(damage, heads)
    )]
    Damaged {
        /// What is wrong with it.
        damage: Damage,
        /// The folder of the heads that were acknowledged.
        heads: PathBuf,
    },
    /// The heads that were acknowledged last are gone, so that nobody can tell whether the store is the newest.
    #[error(
        "{} is gone, and only it tells whether the store is as it was last. Put it back with the rest of the data folder, or \
         restore a backup",
        path.display()
    )]
    AnchorMissing {
        /// The folder, or the file of the installation's own chain in it.
        path: PathBuf,
    },
    /// The owner's token cannot be left where the owner finds it.
    #[error("the owner token cannot be written: {0}")]
    TokenFile(FileError),
}

impl OpenError {
    /// Why the installation's own chain was not read; `heads` is the folder of the heads that were acknowledged.
    pub(super) fn of_own_chain(error: LoadError, heads: &Path) -> Self {
        match error {
            LoadError::Storage(error) => Self::Storage(error),
            // The file is named as the data folder has it, and that is where the folder is.
            LoadError::Damaged(Damage::AnchorGone { file }) => Self::AnchorMissing {
                path: heads.with_file_name(file),
            },
            LoadError::Damaged(damage) => Self::Damaged {
                damage,
                heads: heads.to_owned(),
            },
        }
    }
}

/// What to do about the installation's own chain.
fn remedy(damage: &Damage, heads: &Path) -> String {
    let heads = heads.display();
    match damage {
        Damage::HeadNewer { .. } => {
            ". If no later release has run on this data folder, put back the newest copy of it, or restore a backup"
                .to_owned()
        }
        Damage::Older { .. } => format!(
            ". Put back the newest copy of the whole data folder. If the older state is wanted, restore a backup of it \
             (`keyside restore --older`); {heads} has the heads that were acknowledged last"
        ),
        Damage::Forked => format!(
            ". The store and {heads} come from two different copies of the installation: put back the whole data folder \
             from the one that is wanted, or restore a backup"
        ),
        Damage::HeadForged => format!(
            ". If the store was put beside the keyring and {heads} of another installation, put back all three from the \
             same copy of the data folder; otherwise restore a backup"
        ),
        Damage::AnchorDamaged { .. } => {
            ". Put that file back from the newest copy of the data folder, or restore a backup"
                .to_owned()
        }
        _ => ". Put back the newest copy of the whole data folder, or restore a backup".to_owned(),
    }
}

impl From<KeyringError> for OpenError {
    fn from(error: KeyringError) -> Self {
        Self::Keyring(error)
    }
}
