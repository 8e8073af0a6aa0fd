//! Why the keyring cannot be opened, or a key cannot be added.

use std::path::PathBuf;

use keyside_store::{StorageError, file::FileError};

use crate::kms::KmsError;

/// Why the keyring cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The file cannot be read or replaced.
    #[error("the keyring: {0}")]
    File(#[from] FileError),
    /// The file is not a valid keyring.
    #[error(
        "the keyring {} is damaged: restore it from a backup. Without it nothing that is stored can be opened",
        path.display()
    )]
    Damaged {
        /// The file's path.
        path: PathBuf,
    },
    /// The file was replaced by an older one while this process was running. A change based on it
    /// would lose the keys that it lacks.
    #[error(
        "the keyring {} was replaced by an older copy while this process was running, and is not changed: put back the \
         newest copy of that file. If there is none, make a backup before this process stops, and restore it",
        path.display()
    )]
    Older {
        /// The file's path.
        path: PathBuf,
    },
    /// There is no file, and this process must not create one.
    #[error("there is no keyring at {}: start the process that writes the store first", path.display())]
    Missing {
        /// The expected path.
        path: PathBuf,
    },
    /// A development build before the first release wrote the file, in another format.
    #[error(
        "the keyring {} and the store beside it were made by a development build before 0.1, whose form no release reads: \
         start with an empty data folder, and create the credentials again",
        path.display()
    )]
    Development {
        /// The file's path.
        path: PathBuf,
    },
    /// A later release wrote the file.
    #[error("the keyring {} has format {found}, this release knows 2: use the release that wrote it", path.display())]
    Newer {
        /// The file's path.
        path: PathBuf,
        /// The file's format.
        found: u32,
    },
    /// The key service did not wrap or unwrap a key.
    #[error(transparent)]
    Kms(#[from] KmsError),
}

/// A keyring that cannot be replaced counts as storage that cannot be written.
impl From<KeyringError> for StorageError {
    fn from(error: KeyringError) -> Self {
        Self::Unavailable {
            reason: error.to_string(),
        }
    }
}
