//! Why a store cannot be opened: its path, what is wrong, and the remedy, on one line.

use std::{
    io,
    path::{Path, PathBuf},
};

use keyside_store::{StorageError, file::FileError};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreOpenError {
    /// Another process has the store open.
    #[error(
        "the store {} is in use by {}: stop that process, or use another folder (store.path)",
        folder.display(),
        process(*holder)
    )]
    Locked {
        /// The store's folder.
        folder: PathBuf,
        /// Id of the process that has it open, if the operating system tells.
        holder: Option<u32>,
    },
    /// The files exist, but their data is damaged.
    #[error(
        "the store {} is damaged ({finding}). Restore the whole data folder from a backup, or move it aside to start with \
         an empty one",
        folder.display()
    )]
    Damaged {
        /// The store's folder.
        folder: PathBuf,
        /// What is damaged.
        finding: String,
    },
    /// An I/O error: permissions, a full disk, a missing parent folder.
    #[error("the store cannot be opened: {}{}", .0, remedy_at_start(.0))]
    File(#[from] FileError),
}

impl StoreOpenError {
    pub(super) fn damaged(folder: &Path, finding: impl Into<String>) -> Self {
        Self::Damaged {
            folder: folder.to_owned(),
            finding: finding.into(),
        }
    }

    pub(super) fn no_store(folder: &Path) -> Self {
        Self::damaged(folder, "there is no store in it")
    }

    /// Converts an error of sled: I/O errors keep their kind, all others mean damage.
    pub(super) fn sled(folder: &Path, error: &sled::Error) -> Self {
        match error {
            sled::Error::Io(error) if !is_about_contents(error.kind()) => {
                FileError::at(folder)(io::Error::new(error.kind(), error.to_string())).into()
            }
            other => Self::damaged(folder, finding(other)),
        }
    }

    /// Whether the disk is full.
    pub(super) fn is_full(&self) -> bool {
        let Self::File(error) = self else {
            return false;
        };
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// A file or folder of the store cannot be read or deleted.
pub(super) fn unreadable(error: &FileError) -> StorageError {
    StorageError::unavailable(format!("{error}{}", remedy(error)))
}

/// Describes an error of sled, without the terms that only sled's authors know.
pub(super) fn finding(error: &sled::Error) -> String {
    match error {
        sled::Error::Corruption { .. } => {
            "its files db and snap.* do not hold what was written to them".to_owned()
        }
        sled::Error::CollectionNotFound(_) => "a part of its file db is gone".to_owned(),
        sled::Error::Unsupported(said) | sled::Error::ReportableBug(said) => {
            format!("sled cannot read its files: {said}")
        }
        sled::Error::Io(error) => format!("its file db cannot be read: {error}"),
    }
}

fn is_about_contents(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    )
}

fn process(holder: Option<u32>) -> String {
    match holder {
        Some(pid) => format!("the process {pid}"),
        None => "another process".to_owned(),
    }
}

/// At a start, the store may also be missing, in a folder in which this user can create nothing.
fn remedy_at_start(error: &FileError) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; or start where this user can create it, or name another folder (store.path)"
        }
        _ => remedy(error),
    }
}

/// Remedies for errors for which a [`FileError`] names none.
fn remedy(error: &FileError) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::StorageFull
        | io::ErrorKind::ReadOnlyFilesystem => "",
        io::ErrorKind::QuotaExceeded => " (free some space, or raise the quota)",
        _ => ". Correct that path (store.path), or restore the whole data folder from a backup",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_which_nothing_can_be_created_is_named_with_the_setting() {
        for kind in [
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::ReadOnlyFilesystem,
        ] {
            let error = FileError::at(Path::new("data/store"))(io::Error::from(kind));
            let said = StoreOpenError::from(error).to_string();
            for part in ["data/store", "where this user can", "store.path"] {
                assert!(said.contains(part), "no {part} in {said}");
            }
        }
    }
}
