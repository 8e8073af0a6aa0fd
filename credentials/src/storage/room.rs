//! How much room a disk must have for anything to be written to it.

use std::path::PathBuf;

use super::{StorageError, unavailable};

/// Asked before every write: what meets a full disk in the middle of one may not get over it.
#[derive(Clone)]
pub(super) struct Room {
    /// Where it will be written.
    pub(super) folder: PathBuf,
    /// Bytes of its disk below which nothing is.
    pub(super) reserve: u64,
}

impl Room {
    pub(super) fn check(&self) -> Result<(), StorageError> {
        let disk = nix::sys::statvfs::statvfs(&self.folder).map_err(unavailable)?;
        let available = disk.blocks_available() * disk.fragment_size();
        match available < self.reserve {
            true => Err(StorageError::Full {
                available,
                needed: self.reserve,
            }),
            false => Ok(()),
        }
    }
}
