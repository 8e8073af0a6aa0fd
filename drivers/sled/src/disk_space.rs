//! The free disk space that a write requires.

use std::path::PathBuf;

use keyside_store::{Effect, StorageError};

/// Checked before each write: a write that fails half-way on a full disk may leave a file that
/// cannot be continued.
#[derive(Clone)]
pub(super) struct DiskSpace {
    /// The folder whose disk is written to.
    pub(super) folder: PathBuf,
    pub(super) floors: Floors,
}

/// Minimum free disk space in bytes, for changes of each effect. Changes that can be repeated
/// without limit have higher floors, and so leave space for those that cannot.
#[derive(Clone, Copy, Debug)]
pub struct Floors {
    /// For [`Effect::Adds`].
    pub adds: u64,
    /// For [`Effect::EndsSooner`].
    pub ends_sooner: u64,
    /// For [`Effect::EndsUse`].
    pub ends_use: u64,
    /// For [`Effect::Finishes`].
    pub finishes: u64,
}

impl Floors {
    /// The floors of a store in use. The lowest is enough for what sled writes at once, two
    /// segments of 512 KiB: after a write that failed half-way, sled 0.34.7 accepts no more writes
    /// until a restart.
    pub const USUAL: Self = Self {
        adds: 16 << 20,
        ends_sooner: 8 << 20,
        ends_use: 4 << 20,
        finishes: 1 << 20,
    };

    /// No floor for completing recorded changes, and this many bytes for all others.
    pub const fn above(bytes: u64) -> Self {
        Self {
            adds: bytes,
            ends_sooner: bytes,
            ends_use: bytes,
            finishes: 0,
        }
    }

    pub(crate) fn of(&self, effect: Effect) -> u64 {
        match effect {
            Effect::Adds => self.adds,
            Effect::EndsSooner => self.ends_sooner,
            Effect::EndsUse => self.ends_use,
            Effect::Finishes => self.finishes,
        }
    }
}

impl DiskSpace {
    pub(super) fn check(&self, effect: Effect) -> Result<(), StorageError> {
        let needed = self.floors.of(effect);
        let available = self.available()?;
        match available < needed {
            true => Err(StorageError::Full { available, needed }),
            false => Ok(()),
        }
    }

    /// Free bytes that this user may fill.
    pub(super) fn available(&self) -> Result<u64, StorageError> {
        let disk = nix::sys::statvfs::statvfs(&self.folder).map_err(StorageError::unavailable)?;
        Ok(disk.blocks_available() * disk.fragment_size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_leave_disk_space_for_changes_that_end_access() {
        let order = [
            Effect::Adds,
            Effect::EndsSooner,
            Effect::EndsUse,
            Effect::Finishes,
        ];
        let floors = order.map(|effect| Floors::USUAL.of(effect));
        assert!(floors.is_sorted_by(|one, next| one > next), "{floors:?}");
    }
}
