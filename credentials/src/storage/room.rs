//! How much room a disk must have for something to be written to it.

use std::path::PathBuf;

use super::{Effect, StorageError, unavailable};

/// Asked before something is written: what meets a full disk in the middle of a write may not get over it.
#[derive(Clone)]
pub(super) struct Room {
    /// Where it will be written.
    pub(super) folder: PathBuf,
    /// Bytes of its disk that are kept for what ends a use.
    pub(super) reserve: u64,
    /// Bytes of its disk, the last of the reserve, below which nothing is written.
    pub(super) floor: u64,
}

impl Room {
    pub(super) fn check(&self, effect: Effect) -> Result<(), StorageError> {
        let needed = match effect {
            Effect::Adds => self.reserve,
            Effect::EndsUse => self.floor,
        };
        let disk = nix::sys::statvfs::statvfs(&self.folder).map_err(unavailable)?;
        let available = disk.blocks_available() * disk.fragment_size();
        match available < needed {
            true => Err(StorageError::Full { available, needed }),
            false => Ok(()),
        }
    }
}
