//! What can be wrong with a chain, and why it is not read or not changed.

use crate::error::StorageError;

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It is cut short, or no head at all.
    #[error("its head cannot be read")]
    HeadUnreadable,
    /// A later release has written it.
    #[error(
        "its head has format {format}, and this release knows 1: use the release that wrote it"
    )]
    HeadNewer {
        /// The format that it names.
        format: u8,
    },
    /// The signature is not that of the key that signs this chain.
    #[error("its head is not signed by this installation: edited, or written by someone else")]
    HeadForged,
    /// It was there, as far as is known from elsewhere.
    #[error("its head is gone")]
    HeadGone,
    /// A state from before was put in the place of a later one.
    #[error("its head was put back to an older state ({})", older(found, known))]
    Older {
        /// The epoch and sequence number that are there.
        found: (u64, u64),
        /// Those that were there.
        known: (u64, u64),
    },
    /// It is not the continuation of what was seen.
    #[error(
        "its head does not lead on from the state that was last seen: another history was put in its place"
    )]
    Forked,
    /// The copy of its head that was kept outside the store is gone. Only that shows whether the head is the newest.
    #[error(
        "the copy of its head in {file} is gone, so that nobody can tell whether the chain is the newest"
    )]
    AnchorGone {
        /// The file, as the data folder has it.
        file: String,
    },
    /// The copy of its head that was kept outside the store is not a head that this installation has signed for this chain.
    #[error(
        "the copy of its head in {file} is damaged: cut short, edited, or of another chain or installation"
    )]
    AnchorDamaged {
        /// The file, as the data folder has it.
        file: String,
    },
    /// The keyring is of an epoch before the head's: what is committed with it would be refused from then on.
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
    /// A page of the map is not what the head names.
    #[error("a page of its map is gone or edited")]
    PageGone,
    /// A commit's records are not what the head names.
    #[error("the records of commit {seq} are gone or edited")]
    CommitGone {
        /// The commit's sequence number.
        seq: u64,
    },
    /// A segment is not what its successor names.
    #[error("segment {number} of its records is gone or edited")]
    Segment {
        /// Its number.
        number: u64,
    },
}

impl Damage {
    /// Whether it is the copy of the head outside the store that is damaged or gone. The chain itself may be sound then.
    pub fn is_of_anchor(&self) -> bool {
        matches!(self, Self::AnchorGone { .. } | Self::AnchorDamaged { .. })
    }
}

/// A restore begins a new epoch, and the sequence numbers of two epochs cannot be compared.
fn older(found: &(u64, u64), known: &(u64, u64)) -> String {
    match found.0 == known.0 {
        true => format!("commit {}, and commit {} was seen", found.1, known.1),
        false => format!(
            "commit {} of epoch {}, and commit {} of epoch {} was seen",
            found.1, found.0, known.1, known.0
        ),
    }
}

/// Why a chain was not read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The backend failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a commit was not made, or is not known to have been.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Another one came first. Nothing was changed: read the head, and decide again.
    #[error("someone else has changed the chain meanwhile")]
    Raced,
    /// The backend failed before the swap. Nothing was changed.
    #[error(transparent)]
    NotBegun(StorageError),
    /// The backend did not answer to the swap, or failed afterwards. The change was made or not; the head tells, once it has
    /// passed `seq`.
    #[error("whether the change was made is not known: {error}")]
    OutcomeUnknown {
        /// The sequence number that the commit has, if it was made.
        seq: u64,
        /// What the backend said.
        error: StorageError,
    },
    /// A record is larger than any reader expects.
    #[error("a record has {len} bytes, and {limit} are the limit")]
    RecordTooLong {
        /// Its length.
        len: usize,
        /// The longest that there may be.
        limit: usize,
    },
    /// The chain has as many documents as it can.
    #[error("there are more than 32,768 documents, which is the limit")]
    TooManyDocuments,
    /// What was to be moved to the archive is not what was written.
    #[error(transparent)]
    Damaged(Damage),
}
