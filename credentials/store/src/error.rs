//! Why a backend did not do as asked, and what a change needs of it.

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

/// Why a backend did not do as asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// Another value is stored than the caller has seen. Nothing was written.
    #[error("someone else has written {what} meanwhile")]
    Conflict {
        /// The key.
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
    /// A write or an fsync has failed. Final until a restart: what is on the disk is not known.
    #[error(
        "a write to the store failed ({reason}). The system forgets what it could not write and says so once, so \
         nothing more is accepted until Keyside is restarted"
    )]
    Failed {
        /// What was written, and what the system said.
        reason: String,
    },
    /// This process only reads.
    #[error("the store is open for reading only: change it with the process that serves it")]
    ReadOnly,
    /// The store cannot be reached, or its disk fails. A write may have happened or not.
    #[error("the store cannot be reached: {reason}")]
    Unavailable {
        /// What the backend says.
        reason: String,
    },
}

impl StorageError {
    /// The backend cannot be reached, for this reason.
    pub fn unavailable(reason: impl ToString) -> Self {
        Self::Unavailable {
            reason: reason.to_string(),
        }
    }
}
