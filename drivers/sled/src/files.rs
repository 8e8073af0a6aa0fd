//! Objects in files of their own: large objects, and segments. Each is written in full and synced
//! before it gets its name.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use keyside_store::{
    Effect, StorageError,
    file::{self, FileError},
};
use nix::errno::Errno;

use crate::{disk_space::DiskSpace, error::unreadable, failure::Failure};

/// A folder of objects, named by their keys.
pub(super) struct Files {
    folder: PathBuf,
    /// `None` if the store is open for reading only.
    writing: Option<Writing>,
}

struct Writing {
    disk_space: DiskSpace,
    /// Shared with the tree: both are on the same disk.
    failure: Arc<Failure>,
}

impl Files {
    pub(super) fn open(
        folder: &Path,
        disk_space: &DiskSpace,
        failure: &Arc<Failure>,
    ) -> Result<Self, FileError> {
        file::create_folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            writing: Some(Writing {
                disk_space: disk_space.clone(),
                failure: failure.clone(),
            }),
        })
    }

    pub(super) fn read_only(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            writing: None,
        }
    }

    /// Something else where the file should be, or a file where its folder should be, counts as a
    /// missing file: then only what needs it is damaged.
    pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        match file::read_if_exists(&self.path(key)) {
            Err(error) if is_no_file(&error) => {
                tracing::error!(%error, "a file of the store cannot be read");
                Ok(None)
            }
            read => read.map_err(|error| unreadable(&error)),
        }
    }

    pub(super) fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let Some(Writing {
            disk_space,
            failure,
        }) = &self.writing
        else {
            return Err(StorageError::ReadOnly);
        };
        failure.check()?;
        disk_space.check(Effect::Finishes)?;
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.folder);
        file::create_folder(folder)
            .and_then(|()| file::replace(&path, bytes, file::owner_only()))
            .map_err(
                |error| match error.raw_os_error() == Some(Errno::EIO as i32) {
                    true => failure.latch("a file", error),
                    // No head names the missing file yet, and the next attempt may succeed.
                    false => StorageError::unavailable(error),
                },
            )
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), StorageError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(unreadable(&FileError::at(&path)(error)))
            }
            _ => Ok(()),
        }
    }

    /// Lists the keys that begin with `prefix`, which ends with a slash. Includes unfinished files
    /// left by a crash: no head names them, so the next sweep deletes them.
    pub(super) fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let folder = self.path(prefix);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(&FileError::at(&folder)(error))),
        };
        let key = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.map_err(FileError::at(&folder));
            let name = entry.map_err(|error| unreadable(&error))?.file_name();
            Ok(format!("{prefix}{}", name.to_string_lossy()))
        };
        entries.map(key).collect()
    }

    /// Keys consist of chain names, numbers and hashes, so none leads out of the folder.
    fn path(&self, key: &str) -> PathBuf {
        debug_assert!(!key.split('/').any(|part| part == ".."), "{key}");
        self.folder.join(key)
    }
}

/// Whether the path does not lead to a file, as opposed to one that cannot be read now.
fn is_no_file(error: &FileError) -> bool {
    let kind = matches!(
        error.kind(),
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput
    );
    // A symbolic link that leads to itself: its kind is not stable in std.
    kind || error.raw_os_error() == Some(Errno::ELOOP as i32)
}
