//! Why the keyring cannot be opened, or a key cannot be added.

use std::{io::ErrorKind, path::PathBuf};

use keyside_store::{StorageError, file::FileError};

use crate::kms::KmsError;

/// Why the keyring cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The file cannot be read or replaced.
    #[error("the keyring: {}{}", .0, remedy(.0))]
    File(#[from] FileError),
    /// The file is not a valid keyring.
    #[error(
        "the keyring {} is damaged: restore it from a backup. Without it nothing that is stored can be opened",
        .0.display()
    )]
    Damaged(PathBuf),
    /// The file was replaced by an older one while this process was running. A change based on it
    /// would lose the keys that it lacks.
    #[error(
        "the keyring {} was replaced by an older copy while this process was running, and is not changed: put back the \
         newest copy of that file. If there is none, make a backup before this process stops, and restore it",
        .0.display()
    )]
    Older(PathBuf),
    /// There is no file, and this process must not create one.
    #[error("there is no keyring at {}: start the process that writes the store first", .0.display())]
    Missing(PathBuf),
    /// A development build before the first release wrote the file, in another format.
    #[error(
        "the keyring {} and the store beside it were made by a development build before 0.1, whose form no release reads: \
         start with an empty data folder, and create the credentials again",
        .0.display()
    )]
    Development(PathBuf),
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
        match &error {
            KeyringError::File(file)
                if matches!(
                    file.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded
                ) =>
            {
                Self::Full {
                    available: 0,
                    needed: MIN_FREE,
                }
            }
            _ => Self::unavailable(error),
        }
    }
}

/// Remedies for errors for which a [`FileError`] names none.
fn remedy(error: &FileError) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::StorageFull | ErrorKind::ReadOnlyFilesystem => "",
        ErrorKind::QuotaExceeded => " (free some space, or raise the quota)",
        _ => ". Correct that path, or restore the whole data folder from a backup",
    }
}

/// Bytes that every change leaves free on the disk of the store.
const MIN_FREE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::*;

    #[test]
    fn a_full_disk_is_reported_as_one_and_other_failures_with_their_reason() {
        let failed = |kind: ErrorKind| {
            let error = FileError::at(Path::new("/data/keyring"))(io::Error::from(kind));
            StorageError::from(KeyringError::from(error))
        };
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
            assert!(matches!(failed(kind), StorageError::Full { .. }), "{kind}");
        }
        for (kind, remedy) in [
            (ErrorKind::PermissionDenied, "belong to the user"),
            (ErrorKind::IsADirectory, "Correct that path"),
        ] {
            let other = failed(kind).to_string();
            assert!(other.contains("/data/keyring"), "{other}");
            assert!(other.contains(remedy), "{other}");
        }
    }
}
