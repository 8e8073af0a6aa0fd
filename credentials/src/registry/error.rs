//! Errors of opening and changing a registry.

use std::path::{Path, PathBuf};

use keyside_config::{EndpointError, VaultReference, Verification};
use keyside_store::{
    StorageError,
    chain::{CommitError, Damage, LoadError},
    file::FileError,
};

use super::request::GRACE_LIMIT;
use crate::{
    audit::{Break, ReadError},
    keyring::KeyringError,
    kms::KmsError,
    live_check::Finding,
    model::{Label, WorkspaceId},
};

/// Why a change was not made. Nothing has changed, with two exceptions:
/// [`ChangeError::ErasingUnfinished`] and [`ChangeError::OutcomeUnknown`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The workspace does not exist. It is not created implicitly, because of typing errors.
    #[error("there is no such workspace")]
    WorkspaceUnknown,
    /// The id is taken.
    #[error("a workspace with this id exists already")]
    WorkspaceExists,
    /// The provider is not in the catalogue.
    #[error("the catalogue has no such provider")]
    ProviderUnknown,
    /// Another credential of the workspace and provider has this label.
    #[error("the workspace has a credential labelled \"{0}\" for this provider already")]
    LabelTaken(Label),
    /// The provider requires an endpoint, such as this one.
    #[error("this provider needs an endpoint, such as {0}")]
    EndpointMissing(String),
    /// The host is not one of the provider's.
    #[error(transparent)]
    EndpointRefused(#[from] EndpointError),
    /// The provider has one host for all customers.
    #[error("this provider takes no endpoint")]
    EndpointNotTaken,
    /// The catalogue says that keys of this kind must not be stored, what they are, and what to use
    /// instead: administrative or personal keys.
    #[error("{0}")]
    SecretOfOtherKind(String),
    /// The label has the secret in it, and everyone in the workspace can read it.
    #[error("the label repeats the key")]
    LabelRepeatsSecret,
    /// The usage tag has.
    #[error("the usage tag repeats the key")]
    UsageTagRepeatsSecret,
    /// The label or usage tag of the credential has the new secret.
    #[error("the label or usage tag repeats this key; correct it first")]
    SecretRepeated,
    /// The credential would never be used.
    #[error("the expiry lies in the past")]
    ExpiryPast,
    /// The credential does not exist.
    #[error("there is no such credential")]
    CredentialUnknown,
    /// The settings declare it.
    #[error("it is declared in the settings, and changed there")]
    Declared,
    /// The secret is kept in Vault.
    #[error("its secret is kept in Vault ({0}), and replaced there")]
    KeptInVault(VaultReference),
    /// The secret is stored here, not in Vault.
    #[error("its secret is stored here, and not kept in Vault")]
    NotKeptInVault,
    /// The settings do not allow this path for the workspace, only those with these prefixes.
    #[error("{}", not_permitted(.0))]
    ReferenceNotAllowed(Vec<String>),
    /// The secret of a new credential is missing in Vault, may not be read, or is not valid. Says
    /// place and remedy.
    #[error("{0}")]
    ReferenceRefused(String),
    /// Vault is unavailable. Says place and remedy.
    #[error("the secret was not read: {0}")]
    SecretUnread(String),
    /// The token does not exist.
    #[error("there is no such token")]
    TokenUnknown,
    /// Without this token nobody could create tokens any more.
    #[error("it is the last token that owns everything")]
    LastOwner,
    /// The token was revoked or expired while the request was in progress.
    #[error("the token is revoked or has expired")]
    AccessEnded,
    /// A limited principal must name the workspaces of a new token.
    #[error("a token that is limited to workspaces can only create tokens for named workspaces")]
    ScopeExceeded,
    /// As many tokens come from the creator's limited token as may, including recently ended ones.
    #[error(
        "from a token that is limited to workspaces, and from those that come from it, 1,000 tokens can be created, \
         those that ended within the last 30 days included: ask an owner without a workspace limit for a new owner token"
    )]
    TooManyTokens,
    /// The caller has seen another revision than this one, which is current.
    #[error("it has changed meanwhile")]
    Superseded(u64),
    /// The idempotency key was used for a different request.
    #[error("the idempotency key was used for another request already")]
    IdempotencyKeyReused,
    /// The credential is revoked, and its secrets are destroyed.
    #[error("the credential was revoked, which is final")]
    Revoked,
    /// The grace period is longer than [`GRACE_LIMIT`].
    #[error("an old version is kept for at most {} days", GRACE_LIMIT.as_secs() / 86_400)]
    GraceTooLong,
    /// No version is in grace.
    #[error("no earlier version is left to roll back to")]
    NothingInGrace,
    /// The limit of versions in grace is reached.
    #[error(
        "50 earlier versions are in grace already: rotate with a grace of 0, which keeps none, or wait until one has ended"
    )]
    TooManyInGrace,
    /// The version is current, destroyed or unknown.
    #[error("version {0} cannot be rolled back to")]
    VersionNotInGrace(u32),
    /// The secret did not pass the check that the caller required, and was not stored.
    #[error("{}; the secret was not stored", not_taken(.0))]
    CheckFailed(Finding),
    /// The secret was replaced while the provider was asked.
    #[error("another secret took its place while the provider was asked")]
    Replaced,
    /// A default can only be replaced by another.
    #[error("it is the default until another credential becomes the default")]
    DefaultNeeded,
    /// The stored record failed authentication.
    #[error("the stored record failed authentication and cannot be changed")]
    Damaged,
    /// The keyring has no usable key of the workspace that may seal anything new, such as after an older
    /// keyring was put back.
    #[error(
        "the keyring lacks the key that seals what this workspace stores: its credentials can be revoked, but nothing \
         else in it can be stored or changed"
    )]
    KeyLost,
    /// Audit records that were to be exported are damaged.
    #[error("the audit log is damaged: {0}")]
    LogDamaged(Break),
    /// The chain of this id failed authentication. It outlives each workspace of the id.
    #[error(
        "the chain of this id failed verification (its head in the store, or the copy in {}): {damage}",
        file.display()
    )]
    ChainDamaged {
        /// The anchor.
        file: PathBuf,
        /// What is wrong with the chain.
        damage: Damage,
    },
    /// A document of the installation's chain failed authentication: the registration of a
    /// workspace, or the state that a rotation of keys depends on. A change would replace it.
    #[error("{0}")]
    InstallationDamaged(Damage),
    /// There is an anchor for this id although no workspace was registered.
    #[error(
        "the file {} is in the way: it is the head of a workspace that this installation has never had",
        .0.display()
    )]
    HeadInTheWay(PathBuf),
    /// The anchors of workspaces are damaged or missing, and a rotation would make it useless to
    /// put them back.
    #[error(
        "these copies of heads are missing or damaged: {}. After a rotation of the keys it would not help any more to put \
         them back",
        listed(.0)
    )]
    AnchorsDamaged(Vec<PathBuf>),
    /// The keyring has no keys of these workspaces, and a rotation would make it useless to put back
    /// one that has them.
    #[error(
        "the keyring has no keys of these workspaces: {}. After a rotation of the keys it would not help any more to put \
         back a keyring that has them",
        .0.join(", ")
    )]
    KeysLost(Vec<WorkspaceId>),
    /// Only an operator can replace the master key.
    #[error(transparent)]
    MasterKeyFixed(KmsError),
    /// The key service did not wrap or unwrap a key.
    #[error(transparent)]
    KeyService(KmsError),
    /// The erasure is recorded, but not everything could be removed yet. The next change or start
    /// finishes it, and repeating the request returns the receipt.
    #[error("the workspace is erased, and not all of it is gone yet: {0}")]
    ErasingUnfinished(#[source] StorageError),
    /// Other processes changed it first, too many times. Nothing has changed.
    #[error("other processes changed it first, again and again: try again")]
    Raced,
    /// The keyring has as many keys of the workspace as it may. Older ones are kept for the audit log.
    #[error(
        "the keyring has 1,000 keys of this workspace, which is the limit: store its secrets in a new workspace and erase this one"
    )]
    TooManyKeys,
    /// The chain has its maximum number of documents.
    #[error(
        "a workspace holds at most 32,768 keys, and an installation as many tokens and workspaces"
    )]
    TooMany,
    /// The store did not confirm the change. A list shows the outcome once the store answers again.
    #[error(
        "whether the change was made is not known yet ({0}): look at what is listed before trying again"
    )]
    OutcomeUnknown(StorageError),
    /// The store or the keyring cannot be written. Nothing has changed.
    #[error("the change could not be recorded: {0}")]
    StoreUnavailable(#[from] StorageError),
}

fn not_taken(finding: &Finding) -> String {
    let meaning = match (finding.cause, finding.verification) {
        (Some(cause), _) => cause.meaning(),
        (None, Verification::Rejected) => "the provider refuses it",
        (None, _) => "the provider said nothing of it",
    };
    match finding.status {
        Some(status) => format!("{meaning} (it responded with {status})"),
        None => meaning.to_owned(),
    }
}

pub(super) fn listed(files: &[PathBuf]) -> String {
    let files: Vec<_> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    files.join(", ")
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

/// Nothing can be committed to a damaged chain.
impl From<CommitError> for ChangeError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Raced => Self::Raced,
            CommitError::NotBegun(error) => Self::StoreUnavailable(error),
            CommitError::OutcomeUnknown { error, .. } => Self::OutcomeUnknown(error),
            CommitError::TooManyDocuments => Self::TooMany,
            CommitError::Damaged(damage @ Damage::DocumentGone { .. }) => {
                Self::InstallationDamaged(damage)
            }
            CommitError::Damaged(_) => Self::Damaged,
            error => Self::StoreUnavailable(StorageError::unavailable(error)),
        }
    }
}

impl From<LoadError> for ChangeError {
    fn from(error: LoadError) -> Self {
        CommitError::from(error).into()
    }
}

impl From<ReadError> for ChangeError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(found) => Self::LogDamaged(found),
            ReadError::Storage(error) => Self::StoreUnavailable(error),
        }
    }
}

/// A master key in a fixed place is an operator's task, and so is a key service that fails. Any other
/// failure of the keyring counts as unavailable storage.
impl From<KeyringError> for ChangeError {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Kms(error @ (KmsError::NotAFile | KmsError::NotReplaceable(_))) => {
                Self::MasterKeyFixed(error)
            }
            KeyringError::Kms(
                error @ (KmsError::Unavailable { .. } | KmsError::Refused { .. }),
            ) => Self::KeyService(error),
            error => Self::StoreUnavailable(error.into()),
        }
    }
}

/// Why the registry cannot be opened. Each error names a remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Storage failed: a full disk, or an unavailable store.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The keyring is damaged, or wrapped with another master key.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The store has data that needs the missing keyring.
    #[error(
        "the keyring {} is missing, and the store is not empty: nothing in it can be opened without. Restore that file \
         from a backup, or move the data folder aside to start with an empty one",
        .0.display()
    )]
    KeyringMissing(PathBuf),
    /// There are workspace keys or anchors, but the store is empty.
    #[error(
        "the store is gone or empty, and the keyring {} or the folder heads beside it belongs to one that was not empty. \
         Restore the whole data folder from a backup (`keyside restore`), or move it aside to start with an empty one",
        .0.display()
    )]
    StoreMissing(PathBuf),
    /// The installation's chain failed verification.
    #[error(
        "the installation's own chain, in the data folder {}, failed verification: {damage}{}",
        heads.parent().unwrap_or(heads).display(),
        remedy(damage, heads)
    )]
    Damaged {
        /// What is wrong.
        damage: Damage,
        /// The folder of anchors.
        heads: PathBuf,
    },
    /// The anchors are missing, so it is unknown whether the store is the newest.
    #[error(
        "{} is gone, and only it tells whether the store is as it was last. Put it back with the rest of the data folder, or \
         restore a backup",
        .0.display()
    )]
    AnchorMissing(PathBuf),
    /// The first anchor of a new installation cannot be written.
    #[error(
        "a new installation needs its first file in the folder {}, and it cannot be written ({reason}): make that a \
         folder in which the user that Keyside runs as may create and lock files, and start again",
        heads.display()
    )]
    FirstAnchorNotWritten {
        /// The folder of anchors.
        heads: PathBuf,
        /// The system's error.
        reason: String,
    },
    /// The owner token's file cannot be written.
    #[error("the owner token cannot be written: {0}")]
    TokenFile(FileError),
}

impl OpenError {
    /// The error for the installation's chain; `heads` is the folder of anchors.
    pub(super) fn of_installation_chain(error: LoadError, heads: &Path) -> Self {
        match error {
            LoadError::Storage(error) => Self::Storage(error),
            // The path is relative to the data folder, which is the parent of `heads`.
            LoadError::Damaged(Damage::AnchorGone { file }) => {
                Self::AnchorMissing(heads.with_file_name(file))
            }
            LoadError::Damaged(damage) => Self::Damaged {
                damage,
                heads: heads.to_owned(),
            },
        }
    }

    pub(super) fn first_anchor_not_written(error: StorageError, heads: &Path) -> Self {
        match error {
            StorageError::Unavailable { reason } => Self::FirstAnchorNotWritten {
                heads: heads.to_owned(),
                reason,
            },
            error => Self::Storage(error),
        }
    }
}

fn remedy(damage: &Damage, heads: &Path) -> String {
    let heads = heads.display();
    match damage {
        Damage::HeadNewer { .. } => {
            ". If no later release has run on this data folder, put back the newest copy of it, or restore a backup"
                .to_owned()
        }
        Damage::Older { .. } => format!(
            ". Put back the newest copy of the whole data folder. If the older state is wanted, restore a backup of it \
             (`keyside restore --older`). {heads} keeps copies of the heads that were acknowledged last, unless it was \
             replaced too"
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
        Damage::AnchorUnreadable { .. } => {
            ". Correct that path, put the file back from the newest copy of the data folder, or restore a backup"
                .to_owned()
        }
        _ => ". Put back the newest copy of the whole data folder, or restore a backup".to_owned(),
    }
}
