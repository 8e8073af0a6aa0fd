//! The lock on a store's folder, so that only one process has it open.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use keyside_store::file::FileError;
use nix::sys::stat::{major, minor};

use super::error::StoreOpenError;

/// Locks a folder. The operating system releases the lock when the process ends, even if it is
/// killed.
pub(super) fn lock(folder: &Path) -> Result<File, StoreOpenError> {
    let path = folder.join(LOCK);
    let mut options = File::options();
    let options = options.create(true).truncate(false).write(true);
    take(options.open(&path), &path, folder)
}

/// Like [`lock`], without creating the lock file. If it was deleted, sled's own lock on its log
/// shows whether a process has the store open.
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
