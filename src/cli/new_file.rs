//! Writes a new file, which gets its name only once it is complete. Never overwrites a file.

use std::{
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use keyside_credentials::sync_folder;
use tempfile::NamedTempFile;

use super::Failure;
use crate::lifecycle::Signals;

/// A file with mode 600, under a temporary name in the folder that it is for. Removed when dropped
/// unless `keep` was called. Write it inside [`until_stopped`].
pub(crate) struct NewFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl NewFile {
    pub(crate) fn create(path: PathBuf) -> Result<Self, Failure> {
        expect_absent(&path)?;
        let file = tempfile::Builder::new()
            .prefix(".keyside-")
            .tempfile_in(folder_of(&path));
        match file {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(unwritable(&path, &error)),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| unwritable(&self.path, &error))
    }

    /// The path of the file until it is kept.
    pub(crate) fn temporary_path(&self) -> &Path {
        self.file.path()
    }

    /// Gives the complete file its name. A power cut could leave part of the file under that name, so
    /// it is synced before; and it could lose the name, so the folder is synced afterwards.
    pub(crate) fn keep(self) -> Result<PathBuf, Failure> {
        let Self { path, file } = self;
        let kept = file.as_file().sync_all().and_then(|()| {
            let named = file.persist_noclobber(&path);
            named.map_err(|refused| refused.error)?;
            sync_folder_of(&path)
        });
        match kept {
            Ok(()) => Ok(path),
            Err(error) => Err(unwritable(&path, &error)),
        }
    }
}

/// Runs a command that writes a [`NewFile`]. A signal to stop drops the command, so that the file is
/// removed; without a handler, the signal would end the process and leave the file. The command must
/// not read what a person or a pipe gives: a handler would keep the signal from ending a read that
/// blocks.
pub(crate) async fn until_stopped<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut signals = Signals::new().map_err(Failure::failed)?;
    tokio::select! {
        biased;
        done = work => done,
        signal = signals.next() => {
            let stopped = format!("{signal} stopped the command before it was done");
            Err(Failure::failed(stopped).next("Run it again. An incomplete file is not kept."))
        }
    }
}

/// Fails if something already has the name of a new file. Call it before expensive work.
pub(crate) fn expect_absent(path: &Path) -> Result<(), Failure> {
    match path.symlink_metadata() {
        Ok(_) => Err(unwritable(path, &ErrorKind::AlreadyExists.into())),
        Err(_) => Ok(()),
    }
}

/// A folder that may be written but not read cannot be synced, and is left to the system.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    match sync_folder(folder_of(path)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

fn folder_of(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "expected to write a new file {}, found: {error}",
        path.display()
    ))
    .next("Name a file that does not exist yet with --out, in a folder that you may write to.")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_file_has_its_name_only_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let mut file = NewFile::create(path.clone()).unwrap();
        file.write(b"complete").unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read(file.temporary_path()).unwrap(), b"complete");
        assert_eq!(file.keep().unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), b"complete");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_not_kept_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = NewFile::create(folder.path().join("new")).unwrap();
        file.write(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_was_there_or_appeared_meanwhile_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let mut file = NewFile::create(path.clone()).unwrap();
        file.write(b"late").unwrap();
        fs::write(&path, "first").unwrap();
        assert!(file.keep().is_err());
        assert!(NewFile::create(path.clone()).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
