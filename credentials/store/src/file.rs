//! Small files that are read and replaced whole, and whose mode matters.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// What the system said about a file, with the remedy where there is a usual one.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}{}", path.display(), remedy(source))]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// Names the file in what the system said.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            path: path.to_owned(),
            source,
        }
    }

    /// The system's number of the error, if it is the system's.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (it must belong to the user that Keyside runs as)",
        io::ErrorKind::StorageFull => " (free some space on that disk)",
        io::ErrorKind::ReadOnlyFilesystem => " (the data folder must be writable)",
        _ => "",
    }
}

/// The contents of a file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(FileError::at(path))
}

/// The same for a file that need not be there.
pub fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::at(path)(error)),
    }
}

/// Replaces a file whole: whoever reads it, now or after a power cut, sees the old contents or the new.
pub fn replace(path: &Path, contents: &[u8], mode: Permissions) -> Result<(), FileError> {
    let temporary = with_suffix(path, ".new");
    write_new(&temporary, contents, &mode).map_err(FileError::at(&temporary))?;
    rename(&temporary, path)
}

/// The same for a file that holds one secret on a line.
pub fn replace_secret(path: &Path, secret: &str, mode: Permissions) -> Result<(), FileError> {
    // At its full length at once: a buffer that grows leaves its shorter self behind unwiped.
    let mut line = Zeroizing::new(Vec::with_capacity(secret.len() + 1));
    line.extend_from_slice(secret.as_bytes());
    line.push(b'\n');
    replace(path, &line, mode)
}

/// Removes what a [`replace`] of `path` that was cut off has left. The next one would; this is for files that hold a key.
pub fn forget_unfinished(path: &Path) -> Result<(), FileError> {
    let temporary = with_suffix(path, ".new");
    // Asked first: on a file system that is read-only, removing nothing fails too.
    match temporary.exists() {
        true => fs::remove_file(&temporary).map_err(FileError::at(&temporary)),
        false => Ok(()),
    }
}

/// The same without waiting for its name: after a power cut the file has the old contents or the new, whole either way.
pub fn replace_soon(path: &Path, contents: &[u8], mode: Permissions) -> Result<(), FileError> {
    let temporary = with_suffix(path, ".new");
    write_new(&temporary, contents, &mode).map_err(FileError::at(&temporary))?;
    fs::rename(&temporary, path).map_err(FileError::at(path))
}

/// Puts one file in the place of another; on disk when it returns.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::at(to))?;
    sync_parent(to).map_err(FileError::at(to))
}

/// Makes a folder that only its owner can look into, with those above it that are missing. Each is on disk when this
/// returns: what is synced inside a folder is lost with it if a power cut takes the folder's own entry.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt;
    let above = path.ancestors();
    let missing: Vec<_> = above.take_while(|folder| !is_folder(folder)).collect();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(FileError::at(path))?;
    for made in missing.into_iter().rev() {
        sync_parent(made).map_err(FileError::at(made))?;
    }
    // An earlier start may have made this one and been killed before it came here. Where the folder above cannot be read,
    // somebody else has made this one, and before now.
    let _ = sync_parent(path);
    Ok(())
}

/// Locks a file against all other processes, and makes it where there is none; waits for whoever has it. Unlocked when it is
/// dropped, and when the process ends.
pub fn lock(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(path).map_err(FileError::at(path))?;
    file.lock().map_err(FileError::at(path))?;
    Ok(file)
}

/// Brings to disk which files are in a folder.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether users other than the owner and its group may read it.
pub fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

fn write_new(path: &Path, contents: &[u8], mode: &Permissions) -> io::Result<()> {
    // One that a crash has left would keep its mode.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode.mode())
        .open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    sync_folder(folder)
}

/// The empty path is what is above a relative one: the working folder.
fn is_folder(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.is_dir()
}

/// `path` with more at the end of its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_whatever_a_crash_has_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring");
        fs::write(with_suffix(&path, ".new"), "half a wri").unwrap();
        for contents in ["one", "two"] {
            replace(&path, contents.as_bytes(), Permissions::from_mode(0o600)).unwrap();
            assert_eq!(read(&path).unwrap(), contents.as_bytes());
        }
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_made_with_those_above_it_for_its_owner_alone_and_again_without_harm() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("data/store/runs");
        for _ in 0..2 {
            create_folder(&path).unwrap();
            for folder in path.ancestors().take(3) {
                let mode = folder.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
            }
        }
        fs::write(home.path().join("file"), "").unwrap();
        create_folder(&home.path().join("file/store")).unwrap_err();
    }

    #[test]
    fn a_failure_names_the_file() {
        let error = read(Path::new("/nowhere/keyring")).unwrap_err();
        assert!(
            error.to_string().starts_with("/nowhere/keyring: "),
            "{error}"
        );
    }
}
