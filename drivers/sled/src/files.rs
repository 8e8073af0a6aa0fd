//! Objects in files of their own: large ones, and segments. Each is on disk, whole, before it has its name.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use keyside_store::{
    Effect, StorageError,
    file::{self, FileError},
};
use nix::errno::Errno;

use crate::{disk_space::DiskSpace, error::unreadable, failure::Failure};

/// A folder of objects, by their keys.
pub(super) struct Files {
    folder: PathBuf,
    /// None where nothing is written.
    writing: Option<Writing>,
}

struct Writing {
    disk_space: DiskSpace,
    /// The same as the tree's: a disk that fails one fails the other.
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

    pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        file::read_if_exists(&self.path(key)).map_err(|error| unreadable(&error))
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
        let owner_only = Permissions::from_mode(0o600);
        file::create_folder(folder)
            .and_then(|()| file::replace(&path, bytes, owner_only))
            .map_err(
                |error| match error.raw_os_error() == Some(Errno::EIO as i32) {
                    true => failure.latch("a file", error),
                    // Nothing names what is missing, and the next try may succeed.
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

    /// The keys that begin with `prefix`, which ends with a slash. What a crash has left unfinished is among them, as what no
    /// head names.
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

    /// Keys are made of chain names, numbers and hashes: none leads out of the folder.
    fn path(&self, key: &str) -> PathBuf {
        debug_assert!(!key.split('/').any(|part| part == ".."), "{key}");
        self.folder.join(key)
    }
}
