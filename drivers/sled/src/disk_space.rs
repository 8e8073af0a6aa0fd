//! How much room a disk must have for something to be written to it.

use std::path::PathBuf;

use keyside_store::{Effect, StorageError};

/// Asked before something is written: what meets a full disk in the middle of a write may not get over it.
#[derive(Clone)]
pub(super) struct DiskSpace {
    /// Where it will be written.
    pub(super) folder: PathBuf,
    pub(super) floors: Floors,
}

/// Bytes of the disk that must be free for a change of each effect. What may be done without end leaves what is below its
/// floor to the effects after it.
#[derive(Clone, Copy, Debug)]
pub struct Floors {
    /// For a change that adds.
    pub adds: u64,
    /// For one that brings an end nearer.
    pub ends_sooner: u64,
    /// For one that ends a use.
    pub ends_use: u64,
    /// For what has begun.
    pub finishes: u64,
}

impl Floors {
    /// Those of a store in use. The lowest one is enough for what sled writes at once, two of its segments (512 KiB each): a
    /// write of sled 0.34.7 that fails half-way leaves a store that takes none before a restart.
    pub const USUAL: Self = Self {
        adds: 16 << 20,
        ends_sooner: 8 << 20,
        ends_use: 4 << 20,
        finishes: 1 << 20,
    };

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

    /// Bytes of the disk that this user may still fill.
    pub(super) fn available(&self) -> Result<u64, StorageError> {
        let disk = nix::sys::statvfs::statvfs(&self.folder).map_err(StorageError::unavailable)?;
        Ok(disk.blocks_available() * disk.fragment_size())
    }
}

impl Floors {
    /// What is on record is finished, and all else needs this much.
    pub const fn above(bytes: u64) -> Self {
        Self {
            adds: bytes,
            ends_sooner: bytes,
            ends_use: bytes,
            finishes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_done_without_end_stops_before_it_has_used_up_the_room_of_what_ends_a_use() {
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
