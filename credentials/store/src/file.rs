//! Small files that are read and replaced as a whole, with a fixed mode. Has the one rule for which
//! files are read at all: [`open_regular`].

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Once,
    time::{Duration, SystemTime},
};

use nix::{errno::Errno, fcntl::OFlag};
use zeroize::Zeroizing;

/// An I/O error with the file's path, and the usual remedy if there is one.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}{}", path.display(), remedy(source))]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// Adds the path to an I/O error.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            path: path.to_owned(),
            source,
        }
    }

    /// The operating system's error number, if there is one.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// The kind of I/O error.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (it must belong to the user that Keyside runs as)",
        io::ErrorKind::StorageFull => " (free some space on that disk)",
        io::ErrorKind::ReadOnlyFilesystem => " (its folder must be writable)",
        _ => "",
    }
}

/// Opens a regular file to read it. Never waits for a writer, as opening a named pipe would, and
/// refuses devices, some of which can be read for ever. Follows links, because mounted secrets are
/// replaced through them.
///
/// Every file that the settings name or that is in the data folder is opened by this function. Files
/// that a person names on the command line need not be regular, because shells make pipes for `<(...)`:
/// those are read up to a limit, and the person can end the command.
///
/// # Errors
/// Also for folders and other files that are not regular.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Checked before as well, because opening a device may have an effect.
    expect_regular(&fs::metadata(path)?)?;
    // By now the path may lead to a pipe, or to a terminal, which could become this process's own.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(flags.bits());
    let file = options.open(path)?;
    expect_regular(&file.metadata()?)?;
    Ok(file)
}

fn expect_regular(file: &Metadata) -> io::Result<()> {
    match file.is_dir() {
        true => Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a folder",
        )),
        false => expect_not_special(file),
    }
}

fn expect_not_special(file: &Metadata) -> io::Result<()> {
    match file.is_file() || file.is_dir() {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        )),
    }
}

/// Reads a [regular file](open_regular).
///
/// # Errors
/// Those of [`open_regular`] and of reading.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    open_regular(path)?.read_to_end(&mut contents)?;
    Ok(contents)
}

/// The first `longest` bytes of a [regular file](open_regular), and one more if there are more.
///
/// # Errors
/// Those of [`open_regular`] and of reading.
pub fn read_small(path: &Path, longest: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = open_regular(path)?;
    // Allocated at full length: a buffer that grows leaves unwiped copies in freed memory.
    let mut text = Zeroizing::new(Vec::with_capacity(longest + 1));
    file.take(longest as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    read_regular(path).map_err(FileError::at(path))
}

/// Reads a file that may not exist.
pub fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let read = read_if_changed(path, None)?;
    Ok(read.map(|contents| contents.bytes))
}

/// One version of a file: equal as long as the file is neither replaced nor written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    device: u64,
    inode: u64,
    len: u64,
    /// When the inode last changed. Nobody can choose it.
    changed: SystemTime,
}

impl FileVersion {
    /// `None` if the file has just changed: times have the resolution of a tick, so that another
    /// change might look the same.
    fn of(file: &Metadata, now: SystemTime) -> Option<Self> {
        let nanoseconds = u32::try_from(file.ctime_nsec()).ok()?;
        let since_epoch = Duration::new(u64::try_from(file.ctime()).ok()?, nanoseconds);
        let changed = SystemTime::UNIX_EPOCH + since_epoch;
        let age = now.duration_since(changed).ok()?;
        (age > SETTLED).then_some(Self {
            device: file.dev(),
            inode: file.ino(),
            len: file.len(),
            changed,
        })
    }
}

/// What was read of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FileContents {
    /// All of it.
    pub bytes: Vec<u8>,
    /// The file's version, unless it had just changed.
    pub version: Option<FileVersion>,
}

/// Reads a file that may not exist, unless it is still of the version `known`. Opens it in any case:
/// a network file system looks for changes then.
#[expect(
    clippy::disallowed_methods,
    reason = "compared with a time that the system has given the file"
)]
pub fn read_if_changed(
    path: &Path,
    known: Option<FileVersion>,
) -> Result<Option<FileContents>, FileError> {
    read_if_changed_at(path, known, SystemTime::now())
}

fn read_if_changed_at(
    path: &Path,
    known: Option<FileVersion>,
    now: SystemTime,
) -> Result<Option<FileContents>, FileError> {
    let mut file = match open_regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(FileError::at(path))?,
    };
    let version = FileVersion::of(&file.metadata().map_err(FileError::at(path))?, now);
    if version.is_some() && version == known {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let read = file.read_to_end(&mut bytes);
    read.map_err(FileError::at(path))?;
    Ok(Some(FileContents { bytes, version }))
}

/// Refuses a named pipe, a socket or a device, before something else opens the path. That reports a
/// folder or a missing file.
pub fn check_not_special(path: &Path) -> Result<(), FileError> {
    match fs::metadata(path) {
        Ok(file) => expect_not_special(&file).map_err(FileError::at(path)),
        Err(_) => Ok(()),
    }
}

/// Replaces a file atomically: a reader, also after a power cut, sees either the old or the new
/// contents. On disk when it returns.
pub fn replace(path: &Path, contents: &[u8], mode: Permissions) -> Result<(), FileError> {
    let temporary = with_suffix(path, ".new");
    write_new(&temporary, contents, mode)?;
    rename(&temporary, path)
}

/// Like [`replace`], for a file that holds one secret on a line.
pub fn replace_secret(path: &Path, secret: &str, mode: Permissions) -> Result<(), FileError> {
    // Allocated at its full length: a buffer that grows would leave an unwiped copy behind.
    let mut line = Zeroizing::new(Vec::with_capacity(secret.len() + 1));
    line.extend_from_slice(secret.as_bytes());
    line.push(b'\n');
    replace(path, &line, mode)
}

/// Deletes the temporary file that an interrupted [`replace`] of `path` has left. The next
/// `replace` would delete it too; this is for files that hold a key.
pub fn forget_unfinished(path: &Path) -> Result<(), FileError> {
    let temporary = with_suffix(path, ".new");
    // Checked first, because deleting fails on a read-only file system even if the file does not
    // exist.
    match temporary.exists() {
        true => fs::remove_file(&temporary).map_err(FileError::at(&temporary)),
        false => Ok(()),
    }
}

/// Writes a file in the place of one that a crash may have left. Its contents are on disk when it
/// returns, and its name once the folder is synced.
pub fn write_new(path: &Path, contents: &[u8], mode: Permissions) -> Result<(), FileError> {
    let write = || {
        // The file that is left would keep its mode.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(mode.mode());
        let mut file = options.open(path)?;
        file.write_all(contents)?;
        file.sync_all()
    };
    write().map_err(FileError::at(path))
}

/// Writes a part of a file, which is created if it does not exist. Not synced: a power cut may lose
/// some or all of that part.
pub fn write_at(
    path: &Path,
    contents: &[u8],
    offset: u64,
    mode: Permissions,
) -> Result<(), FileError> {
    check_not_special(path)?;
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).write(true);
    let file = options.mode(mode.mode()).open(path);
    let written = file.and_then(|file| file.write_all_at(contents, offset));
    written.map_err(FileError::at(path))
}

/// Renames a file over another one, and returns when that is on disk.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::at(to))?;
    sync_parent(to).map_err(FileError::at(to))
}

/// Creates a folder with mode 0700, and its missing parents. Each is on disk when this returns: a
/// power cut that loses a folder's own entry loses the synced files in it too.
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
    // An earlier start may have created this folder and been killed before it synced. If the parent
    // cannot be read, another user created this folder earlier, so the error is ignored.
    let _ = sync_parent(path);
    Ok(())
}

/// Locks a file against all other processes; creates it if it does not exist, and waits for the
/// lock. The lock is released when the file is dropped or the process ends.
pub fn lock(path: &Path) -> Result<File, FileError> {
    check_not_special(path)?;
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(path).map_err(FileError::at(path))?;
    file.lock().map_err(FileError::at(path))?;
    Ok(file)
}

/// Syncs a folder's entries to disk, if its file system can do that.
///
/// # Errors
/// The folder cannot be opened, or a write to it was lost.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if is_unsupported(&error) => {
            warn_once(folder, &error);
            Ok(())
        }
        synced => synced,
    }
}

/// Whether the file system has no fsync for folders, as some network and FUSE file systems have none.
/// Linux then returns EINVAL (`vfs_fsync_range` in fs/sync.c) or passes on ENOTSUP, and never reports
/// a lost write by these: that is EIO, ENOSPC or EDQUOT.
///
/// To refuse such a file system would protect nothing: others succeed without doing anything, as CIFS
/// does since Linux 4.17. PostgreSQL (`fsync_fname_ext` in fd.c) goes on as well, and SQLite
/// (`unixSync` in os_unix.c) after any error.
fn is_unsupported(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EINVAL | Errno::EOPNOTSUPP))
}

fn warn_once(folder: &Path, error: &io::Error) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            folder = %folder.display(), %error,
            "the file system cannot sync folders: after a power cut, files that were created or replaced \
             before it may be missing or old"
        );
    });
}

/// Read and write for the owner only.
pub fn owner_only() -> Permissions {
    Permissions::from_mode(0o600)
}

/// Whether users other than the owner and its group may read the file.
pub fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    sync_folder(folder)
}

/// The parent of a relative path is the empty path, which means the working folder.
fn is_folder(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.is_dir()
}

/// Longer than a tick of any file system.
const SETTLED: Duration = Duration::from_secs(2);

/// Appends `suffix` to the file name of `path`.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn a_file_is_replaced_atomically_with_its_mode_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring");
        fs::write(with_suffix(&path, ".new"), "half a wri").unwrap();
        for contents in ["one", "two"] {
            replace(&path, contents.as_bytes(), owner_only()).unwrap();
            assert_eq!(read(&path).unwrap(), contents.as_bytes());
        }
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_created_with_its_parents_for_its_owner_only_and_idempotently() {
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
    fn a_special_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, link, socket] = ["pipe", "link", "socket"].map(|name| folder.path().join(name));
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [pipe, link, socket, PathBuf::from("/dev/zero")] {
            let expected = format!("{}: it is not a regular file", path.display());
            let (sender, receiver) = mpsc::channel();
            thread::spawn(move || {
                let refusals = [
                    read(&path).unwrap_err(),
                    read_if_exists(&path).unwrap_err(),
                    read_if_changed(&path, None).unwrap_err(),
                    lock(&path).unwrap_err(),
                    FileError::at(&path)(read_small(&path, 9).unwrap_err()),
                ];
                sender.send(refusals.map(|error| error.to_string()))
            });
            let refusals = receiver.recv_timeout(Duration::from_secs(10));
            let refusals = refusals.expect("an answer although nobody writes to it");
            assert_eq!(refusals, [(); 5].map(|()| expected.clone()));
        }
    }

    #[test]
    fn a_folder_is_refused_and_a_link_to_a_file_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [path, link] = ["key", "link"].map(|name| folder.path().join(name));
        fs::write(&path, "0123456789").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read(&link).unwrap(), b"0123456789");
        for (longest, read) in [(10, 10), (9, 10), (8, 9)] {
            assert_eq!(read_small(&link, longest).unwrap().len(), read);
        }
        let error = read_if_exists(folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        let ends_in_itself = folder.path().join("around");
        std::os::unix::fs::symlink(&ends_in_itself, &ends_in_itself).unwrap();
        read_if_exists(&ends_in_itself).unwrap_err();
    }

    /// The folders of `/proc` have no fsync.
    #[test]
    fn a_folder_that_cannot_be_synced_is_accepted_and_a_failure_is_not() {
        let folder = Path::new("/proc");
        let refused = File::open(folder).unwrap().sync_all().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::EINVAL as i32));
        sync_folder(folder).unwrap();
        sync_folder(Path::new("/proc/nowhere")).unwrap_err();
        for lost in [Errno::EIO, Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS] {
            assert!(!is_unsupported(&lost.into()), "{lost}");
        }
    }

    #[test]
    fn a_file_is_read_again_unless_it_is_old_and_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring");
        assert_eq!(read_if_changed(&path, None).unwrap(), None);
        replace(&path, b"one", owner_only()).unwrap();
        let new = read_if_changed(&path, None).unwrap().unwrap();
        assert_eq!((new.bytes.as_slice(), new.version), (&b"one"[..], None));
        let later = fs::metadata(&path).unwrap().modified().unwrap() + 2 * SETTLED;
        let version = read_if_changed_at(&path, None, later)
            .unwrap()
            .unwrap()
            .version;
        assert!(version.is_some());
        assert_eq!(read_if_changed_at(&path, version, later).unwrap(), None);
        // Of the same length, in place.
        fs::write(&path, "two").unwrap();
        let edited = read_if_changed(&path, version).unwrap().unwrap();
        assert_eq!(edited.bytes, b"two");
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
