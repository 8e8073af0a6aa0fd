//! What can be wrong with a chain, and why a read or a commit failed.

use crate::error::StorageError;

/// Damage found in a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The head is truncated, or not a head.
    #[error("its head cannot be read")]
    HeadUnreadable,
    /// A later release wrote the head.
    #[error(
        "its head has format {format}, and this release knows 1: use the release that wrote it"
    )]
    HeadNewer {
        /// The head's format number.
        format: u8,
    },
    /// The signature was not made by this chain's signing key.
    #[error("its head is not signed by this installation: edited, or written by someone else")]
    HeadForged,
    /// The head is missing although another record proves that it existed.
    #[error("its head is gone")]
    HeadGone,
    /// The head was replaced by an earlier one (rollback).
    #[error("its head was put back to an older state ({})", older(found, known))]
    Older {
        /// Epoch and sequence number of the stored head.
        found: (u64, u64),
        /// Epoch and sequence number of the newest head seen.
        known: (u64, u64),
    },
    /// The head is not a continuation of the head last seen.
    #[error(
        "its head does not continue the state that was last seen: another history was put in its place"
    )]
    Forked,
    /// The anchor, the copy of the head outside the store, is missing. Without it a rollback of the
    /// whole store cannot be detected.
    #[error(
        "the copy of its head in {file} is gone, and only that shows whether the chain is the newest"
    )]
    AnchorGone {
        /// The anchor's path, relative to the data folder.
        file: String,
    },
    /// The anchor is not a head that this installation has signed for this chain.
    #[error(
        "the copy of its head in {file} is damaged: cut short, edited, of another chain or installation, or signed with a \
         key that was replaced"
    )]
    AnchorDamaged {
        /// The anchor's path, relative to the data folder.
        file: String,
    },
    /// The anchor exists and cannot be read: a folder in its place, missing permissions, a disk
    /// that fails.
    #[error("the copy of its head cannot be read: {error}")]
    AnchorUnreadable {
        /// The anchor's path, relative to the data folder.
        file: String,
        /// The file system's error, with the path.
        error: String,
    },
    /// The keyring is of an epoch before the head's: changes committed with it would be refused
    /// from then on.
    #[error(
        "its head is of epoch {head}, and the keyring of epoch {keyring}: the keyring was put back to a state before the \
         last restore"
    )]
    KeyringOlder {
        /// The epoch of the head.
        head: u64,
        /// The epoch of the keyring.
        keyring: u64,
    },
    /// The head is of an epoch before the keyring's: the store and the anchors were put back
    /// together.
    #[error(
        "its head is of epoch {head}, and the keyring of epoch {keyring}: the store and the heads were put back to a \
         state before the last restore"
    )]
    HeadOlder {
        /// The epoch of the head.
        head: u64,
        /// The epoch of the keyring.
        keyring: u64,
    },
    /// A document of the installation's chain that something else depends on does not match the
    /// hash in the map, or cannot be parsed.
    #[error("the document {document} of the installation's chain is gone or edited")]
    DocumentGone {
        /// The document's name.
        document: String,
    },
    /// A page of the map does not match the hash in the head.
    #[error("a page of its map is gone or edited")]
    PageGone,
    /// The records of a commit do not match the hash in the head.
    #[error("the records of commit {seq} are gone or edited")]
    CommitGone {
        /// The commit's sequence number.
        seq: u64,
    },
    /// A segment does not match the hash in its successor.
    #[error("segment {number} of its records is gone or edited")]
    Segment {
        /// The segment's number, from 1.
        number: u64,
    },
}

impl Damage {
    /// Whether only the anchor is damaged or missing. The chain itself may be intact then.
    pub fn is_anchor_damage(&self) -> bool {
        matches!(
            self,
            Self::AnchorGone { .. } | Self::AnchorDamaged { .. } | Self::AnchorUnreadable { .. }
        )
    }
}

/// Names the epochs if they differ: a restore begins a new epoch, and sequence numbers of different
/// epochs are not comparable.
fn older(found: &(u64, u64), known: &(u64, u64)) -> String {
    match found.0 == known.0 {
        true => format!("commit {}, and commit {} was seen", found.1, known.1),
        false => format!(
            "commit {} of epoch {}, and commit {} of epoch {} was seen",
            found.1, found.0, known.1, known.0
        ),
    }
}

/// Why a chain could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// The chain is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The backend failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl LoadError {
    /// The damage, if the backend answered.
    ///
    /// # Errors
    /// The backend's.
    pub fn into_damage(self) -> Result<Damage, StorageError> {
        match self {
            Self::Damaged(damage) => Ok(damage),
            Self::Storage(error) => Err(error),
        }
    }
}

/// Why a commit failed, or why its outcome is unknown.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Another commit won the race. Nothing was changed: read the head and decide again.
    #[error("another writer has changed the chain in the meantime")]
    Raced,
    /// The backend failed before the swap. Nothing was changed.
    #[error(transparent)]
    NotBegun(StorageError),
    /// The backend did not answer the swap, or failed after it. Whether the change was made can be
    /// read from the head once it has passed `seq`.
    #[error("whether the change was made is not known: {error}")]
    OutcomeUnknown {
        /// The commit's sequence number, if it was made.
        seq: u64,
        /// The backend's error.
        error: StorageError,
    },
    /// A record is longer than [`Change::MAX_RECORD_LEN`](super::Change::MAX_RECORD_LEN).
    #[error("a record has {len} bytes, and {limit} are the limit")]
    RecordTooLong {
        /// Bytes of the record.
        len: usize,
        /// Maximum, in bytes.
        limit: usize,
    },
    /// The chain holds the maximum number of documents.
    #[error("there are more than 32,768 documents, which is the limit")]
    TooManyDocuments,
    /// The commits to be moved to a segment are damaged.
    #[error(transparent)]
    Damaged(Damage),
}

/// A chain that cannot be read cannot be committed to.
impl From<LoadError> for CommitError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Storage(error) => Self::NotBegun(error),
            LoadError::Damaged(damage) => Self::Damaged(damage),
        }
    }
}

impl CommitError {
    /// The backend's error, or one that says why else the commit failed.
    pub fn into_storage_error(self) -> StorageError {
        match self {
            Self::NotBegun(error) | Self::OutcomeUnknown { error, .. } => error,
            error => StorageError::unavailable(error),
        }
    }
}
