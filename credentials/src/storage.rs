//! What the domain asks of a place to keep things: versioned documents and append-only logs.
//!
//! Storage is untrusted and knows no rule of the domain. It sees sealed bytes and authenticated metadata; whether they
//! are the right ones is decided above. A backend is a few hundred lines and passes the contract suite in `contract.rs`.

#[cfg(test)]
mod contract;
mod failure;
#[cfg(test)]
pub(crate) mod faulty;
mod flush;
mod memory;
mod room;
mod segments;
mod sled;

#[cfg(test)]
pub(crate) use self::room::Floors;

use async_trait::async_trait;

pub use self::{
    memory::MemoryStorage,
    sled::{SledStorage, StoreOpenError},
};

/// Versioned documents and append-only logs.
///
/// A write that returned is visible to every later read, and survives the end of the process once a `sync` that began
/// after it has returned, or for runs a `sync_runs`. Writes become durable in the order in which they returned: of the
/// documents and the audit log, whatever survives is a prefix. So it is of the runs by themselves; between them and the
/// rest nothing orders.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// The document under `key`.
    async fn read(&self, key: &str) -> Result<Option<Document>, StorageError>;

    /// Writes a document whose stored revision is `expected`, 0 for one that must not exist yet. Its revision is then
    /// one higher.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] when another revision is stored; nothing is written then.
    async fn put(&self, key: &str, expected: u64, body: Vec<u8>) -> Result<u64, StorageError>;

    /// Removes a document whose stored revision is `expected`.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] when another revision, or nothing, is stored.
    async fn remove(&self, key: &str, expected: u64) -> Result<(), StorageError>;

    /// All documents whose key begins with `prefix`, in order of their keys.
    async fn list(&self, prefix: &str) -> Result<Vec<(String, Document)>, StorageError>;

    /// Writes entry `position` of a log. Positions count from 1, and a log may lose its oldest entries.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] unless `position` follows the last one; an entry is written once.
    async fn append(&self, log: Log, position: u64, entry: Vec<u8>) -> Result<(), StorageError>;

    /// Up to `limit` entries of a log from position `from` on, in order. Where a disk has damaged runs, those are left out.
    async fn entries(
        &self,
        log: Log,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StorageError>;

    /// The last position of a log, 0 while it is empty.
    async fn last(&self, log: Log) -> Result<u64, StorageError>;

    /// Goes through all runs in order and writes in the place of an entry what `edit` makes of it, if it makes anything. For
    /// what a person may ask to have forgotten: of what was there before, nothing is left once a `sync_runs` has returned.
    /// The audit log is evidence, and has no such call.
    async fn edit_runs(&self, edit: Edit) -> Result<(), StorageError>;

    /// Forgets runs before `position`, the oldest first. Some of them may stay until more can go with them, and the last
    /// one always does, so that positions go on.
    async fn forget_runs(&self, position: u64) -> Result<(), StorageError>;

    /// Returns when every document and audit record written before is on disk. Concurrent callers share one flush.
    ///
    /// # Errors
    /// [`StorageError::Failed`] from the first failure on, until the process is restarted: see [`Self::failure`].
    async fn sync(&self) -> Result<(), StorageError>;

    /// Returns when every run written before is on disk. One that failed may be followed by one that does not; what was
    /// written before the first is then not known to be on disk.
    async fn sync_runs(&self) -> Result<(), StorageError> {
        self.sync().await
    }

    /// Whether there is room for a change of this effect. Asked once, before its first write: a write by itself needs no more
    /// room than [`Effect::Finishes`] does, so that a change which has begun comes to its end.
    ///
    /// # Errors
    /// [`StorageError::Full`].
    async fn expect_room(&self, _effect: Effect) -> Result<(), StorageError> {
        Ok(())
    }

    /// What the disk said when it failed to write a document or an audit record, if it ever did. From then on it takes
    /// neither, and what was written before is still read.
    fn failure(&self) -> Option<String> {
        None
    }

    /// A number that is another after every write.
    async fn generation(&self) -> Result<u64, StorageError>;
}

/// What is to stand in the place of an entry, told its position; nothing to leave it as it is.
pub type Edit = Box<dyn FnMut(u64, &[u8]) -> Option<Vec<u8>> + Send>;

/// What a change does to the uses that there are, and with it, how far it may fill the disk. Each leaves some room to the
/// ones after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It adds something, or leaves as much as there was.
    Adds,
    /// It brings the end of a use nearer. This can be done to one use again and again, a second at a time, so it leaves room
    /// for revoking.
    EndsSooner,
    /// It ends a use, or destroys what can be used no more, and adds none. Each use ends once, and none can be added in the
    /// reserve.
    EndsUse,
    /// It finishes what has begun or is on record already.
    Finishes,
}

/// A stored document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// How often it was written since it came to be, from 1.
    pub revision: u64,
    /// What was written.
    pub body: Vec<u8>,
}

/// The logs there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Log {
    /// Who did what.
    Audit,
    /// What credentials were used for, in blocks of records.
    Runs,
}

impl Log {
    /// The name it has in a store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Runs => "runs",
        }
    }
}

/// Why storage did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another revision is stored, or another entry.
    #[error("someone else has written {what} meanwhile")]
    Conflict {
        /// The key, or the log.
        what: String,
    },
    /// Too little room is left to write safely. Refused before anything is written, so it mends itself with the disk.
    #[error(
        "the disk that holds the store is nearly full ({available} bytes left, {needed} are kept in reserve): \
         free some space"
    )]
    Full {
        /// Bytes left for this user.
        available: u64,
        /// Bytes below which nothing is written.
        needed: u64,
    },
    /// A write or an fsync has failed. Final until a restart: what is on it is not known.
    #[error(
        "a write to the store failed ({reason}). The system forgets what it could not write and says so once, so \
         nothing more is accepted until Keyside is restarted"
    )]
    Failed {
        /// What was written, and what the system said.
        reason: String,
    },
    /// The store cannot be reached, or its disk fails.
    #[error("the store cannot be reached: {reason}")]
    Unavailable {
        /// What the backend says.
        reason: String,
    },
}

fn unavailable(reason: impl ToString) -> StorageError {
    StorageError::Unavailable {
        reason: reason.to_string(),
    }
}
