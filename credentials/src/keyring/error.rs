//! Why the keyring does not open, or does not take a key.

use std::path::PathBuf;

use keyside_store::{StorageError, file::FileError};

use crate::kms::KmsError;

/// Why there is no keyring to work with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The file cannot be read or replaced.
    #[error("the keyring: {0}")]
    File(#[from] FileError),
    /// The file is there and not a keyring.
    #[error(
        "the keyring {} is damaged: restore it from a backup. Without it nothing that is stored can be opened",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// There is none, and none is to be made.
    #[error("there is no keyring at {}: start the process that writes the store first", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A build from before the first release has written it, with a store in another form.
    #[error(
        "the keyring {} and the store beside it were made by a development build before 0.1, whose form no release reads: \
         begin anew with an empty data folder, and add the keys again",
        path.display()
    )]
    Development {
        /// The file.
        path: PathBuf,
    },
    /// A later release has written it.
    #[error("the keyring {} has format {found}, this release knows 2: use the release that wrote it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format it names.
        found: u32,
    },
    /// The key service did not wrap or unwrap.
    #[error(transparent)]
    Kms(#[from] KmsError),
}

/// A keyring that cannot be replaced is storage that cannot be written.
impl From<KeyringError> for StorageError {
    fn from(error: KeyringError) -> Self {
        Self::Unavailable {
            reason: error.to_string(),
        }
    }
}
