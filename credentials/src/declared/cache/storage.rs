//! The cache's file and folder. All functions block.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use keyside_store::file::{self, FileError};

/// The file's content, if it exists. The folder may be missing.
pub(super) fn read(folder: &Path) -> Result<Option<Vec<u8>>, String> {
    let path = file_in(folder);
    let unreadable = |error| format!("{}. The copy is not used", FileError::at(&path)(error));
    let opened = match file::open_regular(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(unreadable)?,
    };
    expect_private(folder)?;
    let mut content = Vec::new();
    let mut limited = opened.take(MAX_LEN + 1);
    let length = limited.read_to_end(&mut content).map_err(unreadable)?;
    match length as u64 > MAX_LEN {
        true => Err(format!(
            "{}: it is too long for a copy of secrets, and not used; delete it",
            path.display()
        )),
        false => Ok(Some(content)),
    }
}

/// Replaces the file, or removes it if there is no content.
pub(super) fn write(folder: &Path, content: Option<&[u8]>) -> Result<(), String> {
    let path = file_in(folder);
    let written = match content {
        Some(content) => {
            make_private(folder)?;
            file::replace(&path, content, file::owner_only())
        }
        None => remove_file(folder, &path).map_err(FileError::at(&path)),
    };
    written.map_err(|error| format!("{error}. A restart during an outage finds no current copy"))
}

/// Removes the file after it could not be replaced. This works on a full disk.
pub(super) fn remove(folder: &Path) {
    let path = file_in(folder);
    if let Err(error) = remove_file(folder, &path) {
        tracing::error!(
            path = %path.display(), %error,
            "a secret that is no longer valid is still in the cache: delete the file"
        );
    }
}

/// Creates the folder with mode 700, unless it exists.
pub(super) fn make_private(folder: &Path) -> Result<(), String> {
    if !folder.is_dir() {
        file::create_folder(folder)
            .map_err(|error| format!("{error}. Without its folder vault.cache keeps nothing"))?;
    }
    expect_private(folder)
}

fn expect_private(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    let metadata = fs::metadata(folder);
    let metadata = metadata.map_err(|error| format!("{shown}: {error}"))?;
    let mode = metadata.permissions().mode() & 0o777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(format!(
            "{shown} has mode {mode:03o}, and vault.cache keeps secrets only in folders that no other user can read: chmod 700 it, or \
             name a folder below it, which Keyside then creates"
        )),
    }
}

fn remove_file(folder: &Path, path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| file::sync_folder(folder)),
    }
}

fn file_in(folder: &Path) -> PathBuf {
    folder.join("vault-secrets")
}

/// Bytes: enough for thousands of secrets of the maximum length.
const MAX_LEN: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn a_pipe_in_place_of_the_file_is_reported_and_replaced_and_not_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("cache");
        make_private(&folder).unwrap();
        mkfifo(&file_in(&folder), Mode::S_IRWXU).unwrap();
        let (sender, receiver) = mpsc::channel();
        let reader = folder.clone();
        thread::spawn(move || sender.send(read(&reader)));
        let answer = receiver.recv_timeout(Duration::from_secs(10));
        let answer = answer.expect("an answer although nobody writes to it");
        let fault = answer.unwrap_err();
        assert!(fault.contains("it is not a regular file"), "{fault}");
        write(&folder, Some(b"a copy")).unwrap();
        assert_eq!(read(&folder).unwrap().unwrap(), b"a copy");
    }
}
