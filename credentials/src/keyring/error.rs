//! Why the keyring does not open, or does not take a key.

use std::path::PathBuf;

use crate::{file::FileError, kms::KmsError, storage::StorageError};

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
    /// A later release has written it.
    #[error("the keyring {} has format {found}, this release knows 1: use the release that wrote it", path.display())]
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
