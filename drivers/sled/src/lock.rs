//! The lock on a store's folder: one process has it open.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use keyside_store::file::FileError;
use nix::sys::stat::{major, minor};

use super::error::StoreOpenError;

/// Locks a folder. The system releases the lock when the process ends, however it ends.
pub(super) fn lock(folder: &Path) -> Result<File, StoreOpenError> {
    let path = folder.join(LOCK);
    let mut options = File::options();
    let options = options.create(true).truncate(false).write(true);
    take(options.open(&path), &path, folder)
}

/// The same without making anything. Where the lock file was removed, sled's own lock on its log tells whether a process has
/// the store open.
pub(super) fn lock_existing(folder: &Path) -> Result<File, StoreOpenError> {
    let mut paths = [LOCK, DB].map(|name| folder.join(name)).into_iter();
    let path = paths.find(|path| path.exists());
    let path = path.ok_or_else(|| StoreOpenError::no_store(folder))?;
    take(File::open(&path), &path, folder)
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

/// The process that has locked a file, as `/proc/locks` has it (proc_locks(5)). It does not list processes of other containers,
/// and some file systems under another device.
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
/// sled's log, which has everything. sled locks it while it has it open.
pub(super) const DB: &str = "db";
