//! The lock on a store's folder, so that only one process has it open.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    process, thread,
    time::{Duration, Instant},
};

use keyside_store::file::{self, FileError};
use nix::sys::stat::{major, minor};

use super::error::StoreOpenError;

/// Locks a folder. The operating system releases the lock when the process ends, even if it is
/// killed.
pub(super) fn lock(folder: &Path) -> Result<File, StoreOpenError> {
    let path = folder.join(LOCK);
    let mut options = File::options();
    let options = options.create(true).truncate(false).write(true);
    let lock = take(options.open(&path), &path, folder)?;
    // If the lock file was deleted while a process has the store open, only sled's own lock shows
    // that process. Unlocked again, because sled takes this lock itself.
    let db = folder.join(DB);
    if db.is_file() {
        let probe = take_db(&db, folder)?;
        probe.unlock().map_err(FileError::at(&db))?;
    }
    Ok(lock)
}

/// Like [`lock`], without creating the lock file. Takes sled's own lock on its log too: a process
/// whose lock file was deleted or replaced holds only that one.
pub(super) fn lock_existing(folder: &Path) -> Result<Vec<File>, StoreOpenError> {
    let mut locks = Vec::new();
    let (path, db) = (folder.join(LOCK), folder.join(DB));
    if path.exists() {
        locks.push(take(file::open_regular(&path), &path, folder)?);
    }
    if db.exists() {
        locks.push(take_db(&db, folder)?);
    }
    match locks.is_empty() {
        true => Err(StoreOpenError::no_store(folder)),
        false => Ok(locks),
    }
}

/// Takes sled's lock on its log. A store that this process has just closed may hold it a little
/// longer: a write in sled's thread pool keeps the file open (0.34.7, `pagecache/iobuf.rs`).
#[expect(
    clippy::disallowed_methods,
    reason = "the system has no lock with a deadline"
)]
fn take_db(db: &Path, folder: &Path) -> Result<File, StoreOpenError> {
    let deadline = Instant::now() + CLOSING;
    loop {
        match take(file::open_regular(db), db, folder) {
            Err(StoreOpenError::Locked { holder, .. })
                // No holder: it was released in between.
                if holder.is_none_or(|id| id == process::id()) && Instant::now() < deadline =>
            {
                thread::sleep(CLOSING_POLL);
            }
            taken => return taken,
        }
    }
}

fn take(opened: io::Result<File>, path: &Path, folder: &Path) -> Result<File, StoreOpenError> {
    let file = opened.map_err(FileError::at(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreOpenError::Locked {
            folder: folder.to_owned(),
            holder: holder(&file),
        }),
        Err(TryLockError::Error(error)) => Err(FileError::at(path)(error).into()),
    }
}

/// The process that has locked a file, according to `/proc/locks` (proc_locks(5)). Processes of
/// other containers are missing there, and some file systems are listed under another device.
fn holder(file: &File) -> Option<u32> {
    let metadata = file.metadata().ok()?;
    let (device, inode) = (metadata.dev(), metadata.ino());
    let file = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, _, pid, locked, ..] if locked == file => pid.parse().ok(),
            _ => None,
        }
    })
}

pub(super) const LOCK: &str = "lock";
/// sled's log, which contains all values. sled locks it while it is open.
pub(super) const DB: &str = "db";
/// How long sled may take to close its files, a multiple of what was seen.
const CLOSING: Duration = Duration::from_millis(500);
const CLOSING_POLL: Duration = Duration::from_millis(5);
