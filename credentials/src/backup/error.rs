//! Why a backup is not restored.

use std::path::PathBuf;

use keyside_store::{StorageError, file::FileError};

use crate::{keyring::KeyringError, kms::KmsError};

/// Why a backup was not restored. Each says what to do. Nothing that was there is changed, unless a file of the
/// last step could not be put in place: what it replaced stands beside it then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Restoring over something would lose it.
    #[error(
        "there is a store at {} already, and a restore writes over none: stop Keyside and move its data folder aside, \
         or name another one in store.path",
        folder.display()
    )]
    StoreThere {
        /// Where it is.
        folder: PathBuf,
    },
    /// Something else.
    #[error("{} is not a backup of Keyside's: name a file that `keyside backup` has written", file.display())]
    NotABackup {
        /// The file.
        file: PathBuf,
    },
    /// A later release has written it.
    #[error(
        "the backup {} has format {found}, this release knows {known}: restore it with the release that made it",
        file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// The format it names.
        found: u32,
        /// The one that this release writes.
        known: u32,
    },
    /// Its end is missing.
    #[error(
        "the backup {} is cut short: copy it again from where it was made, or take another one",
        file.display()
    )]
    Truncated {
        /// The file.
        file: PathBuf,
    },
    /// It is not what was written.
    #[error(
        "the backup {} is damaged ({finding}): copy it again from where it was made, or take another one",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What was found.
        finding: &'static str,
    },
    /// What remains here belongs to another installation.
    #[error(
        "the backup is of installation {backup}, and what remains in {} is of {here}. If it is to take that one's place, \
         say so with --other-installation",
        folder.display(),
        here = here.as_deref().unwrap_or("another")
    )]
    OtherInstallation {
        /// Where something remains.
        folder: PathBuf,
        /// The backup's installation.
        backup: String,
        /// The one that remains, where it can be told.
        here: Option<String>,
    },
    /// Something happened after it that would be undone.
    #[error(
        "the backup is older than what was here last ({finding}): take a newer one. If this older state is wanted, say so \
         with --older; keys that were revoked since, and workspaces that were erased, are then there again"
    )]
    Older {
        /// What tells.
        finding: String,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The keyring that remains, or the one in the backup.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// No master key, or not the one that the backup was made with.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// The new store cannot be made.
    #[error(transparent)]
    Store(Box<dyn std::error::Error + Send + Sync>),
    /// The new store cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
