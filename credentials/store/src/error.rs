//! Errors of a backend, and the disk space that a change may use.

/// What a change does to existing access, which decides how far it may fill the disk. Each effect
/// leaves space in reserve for those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Adds something, or leaves the amount of access unchanged.
    Adds,
    /// Ends access sooner. One credential's end can be moved again and again, so this leaves space
    /// in reserve for revoking.
    EndsSooner,
    /// Ends access or destroys what can no longer be used, and adds nothing. Each access ends only
    /// once, and none can be added in the reserve, so the space this needs is bounded.
    EndsUse,
    /// Completes a change that has begun or is already recorded.
    Finishes,
}

/// Why an operation on a backend failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// The stored value is not the one that the caller expected. Nothing was written.
    #[error("another writer has changed {what} in the meantime")]
    Conflict {
        /// The key that was to be written.
        what: String,
    },
    /// Too little disk space. Refused before the first write, so freeing space is enough to
    /// continue.
    #[error(
        "the disk that holds the store is nearly full ({available} bytes left, {needed} are kept in reserve): \
         free some space"
    )]
    Full {
        /// Free bytes that this user may fill.
        available: u64,
        /// Bytes that have to stay free.
        needed: u64,
    },
    /// A write or an fsync failed. Permanent until a restart, because the contents of the disk are
    /// unknown.
    #[error(
        "a write to the store failed ({reason}). The system reports lost data only once, so \
         no change is accepted until Keyside is restarted"
    )]
    Failed {
        /// Which write failed, and the operating system's error.
        reason: String,
    },
    /// This process has opened the store for reading only.
    #[error("the store is open for reading only: change it with the process that serves it")]
    ReadOnly,
    /// The store cannot be reached, or its disk fails. A write may or may not have happened.
    #[error("the store cannot be reached: {reason}")]
    Unavailable {
        /// The backend's error.
        reason: String,
    },
}

impl StorageError {
    /// The error for a note above [`MAX_NOTE`], which is a defect of Keyside: a write of it could
    /// damage its neighbours.
    pub fn note_too_large(name: &str, size: usize) -> Self {
        Self::unavailable(format!(
            "the note {name} has {size} bytes, and {MAX_NOTE} are the most: report this as a defect of Keyside"
        ))
    }

    /// A [`Self::Unavailable`] with this reason.
    pub fn unavailable(reason: impl ToString) -> Self {
        Self::Unavailable {
            reason: reason.to_string(),
        }
    }
}

/// Maximum size of a note, in bytes. The embedded store cannot keep a larger value durable beside
/// its neighbours.
pub const MAX_NOTE: usize = 6 << 10;
