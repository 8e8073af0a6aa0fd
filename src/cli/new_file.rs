//! Writes a new file. Never overwrites one, and removes it again unless it is complete.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use keyside_credentials::sync_folder;

use super::Failure;

/// A new file with mode 600, which is removed when dropped unless `keep` was called.
pub(crate) struct NewFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl NewFile {
    pub(crate) fn create(path: PathBuf) -> Result<Self, Failure> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match file {
            Ok(file) => Ok(Self {
                path,
                file,
                kept: false,
            }),
            Err(error) => Err(unwritable(&path, &error)),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| unwritable(&self.path, &error))
    }

    /// Syncs the file and its folder, without whose entry a power cut would lose the file.
    pub(crate) fn sync(&self) -> Result<(), Failure> {
        let on_disk = self.file.sync_all();
        let on_disk = on_disk.and_then(|()| sync_folder_of(&self.path));
        on_disk.map_err(|error| unwritable(&self.path, &error))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn keep(mut self) -> PathBuf {
        self.kept = true;
        self.path.clone()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A folder that may be written but not read cannot be synced, and is left to the system.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    match sync_folder(folder.unwrap_or(Path::new("."))) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "expected to write a new file {}, found: {error}",
        path.display()
    ))
    .next("Name a file that does not exist yet with --out, in a folder that you may write to.")
}
