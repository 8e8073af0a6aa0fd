//! The open files of a store, and what is done with them. Everything here blocks.

use std::path::Path;

use keyside_store::{CommitStep, Effect, MAX_NOTE, StorageError, StoredCommit};

use crate::{
    disk_space::DiskSpace,
    error::StoreOpenError,
    files::Files,
    folder::{self, ARCHIVE, LARGE, RUNS},
    run_log::SegmentedLog,
    tree::Tree,
};

pub(super) struct Opened {
    pub(super) runs: SegmentedLog,
    large: Files,
    pub(super) archive: Files,
    /// Refuses all writes.
    pub(super) read_only: bool,
    /// Declared last, so that the lock on the folder is released last.
    pub(super) tree: Tree,
}

impl Opened {
    pub(super) fn open(disk_space: DiskSpace) -> Result<Self, StoreOpenError> {
        // Opened first, because it locks the folder.
        let tree = Tree::open(disk_space.clone())?;
        let folder = disk_space.folder.clone();
        Ok(Self {
            large: Files::open(&folder.join(LARGE), &disk_space, &tree.failure)?,
            archive: Files::open(&folder.join(ARCHIVE), &disk_space, &tree.failure)?,
            runs: SegmentedLog::open(&folder.join(RUNS), disk_space)?,
            read_only: false,
            tree,
        })
    }

    pub(super) fn open_read_only(folder: &Path) -> Result<Self, StoreOpenError> {
        let tree = Tree::open_copy(folder)?;
        Ok(Self {
            large: Files::read_only(&folder.join(LARGE)),
            archive: Files::read_only(&folder.join(ARCHIVE)),
            runs: SegmentedLog::open_read_only(&folder.join(RUNS))?,
            read_only: true,
            tree,
        })
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        match self.tree.get(key)? {
            Some(bytes) => Ok(Some(bytes)),
            None => self.large.get(key),
        }
    }

    pub(super) fn put_new(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.tree.check_writable()?;
        match bytes.len() > MAX_TREE_VALUE {
            true => self.large.put(key, bytes),
            false => self.tree.put(key, bytes),
        }
    }

    /// Writes a commit. Returns whether it is on disk: not if another caller's sync is in progress, so
    /// that the next one can be shared.
    pub(super) fn commit(&self, commit: &StoredCommit) -> Result<bool, (CommitStep, StorageError)> {
        let step = |step| move |error| (step, error);
        let space = self.tree.check_disk_space(commit.effect);
        space.map_err(step(CommitStep::Begin))?;
        for (key, bytes) in &commit.objects {
            let put = self.put_new(key, bytes);
            put.map_err(step(CommitStep::Objects))?;
        }
        let StoredCommit { head, expected, .. } = commit;
        let swap = self.tree.swap(head, expected.clone(), commit.bytes.clone());
        swap.map_err(step(CommitStep::Swap))?;
        let synced = self.tree.flush.try_now(|| self.tree.sync_to_disk());
        synced.map_err(step(CommitStep::Sync))
    }

    /// Deletes an object. Deleting many of them must not use the disk space that is kept for changes
    /// that end access, so on a nearly full disk they stay.
    pub(super) fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.tree.check_writable()?;
        self.large.delete(key)?;
        self.tree.delete(key, Effect::EndsSooner)
    }

    /// Whether nothing was ever committed. A truncated log may look so too, but then no data is
    /// left in it.
    pub(super) fn is_unused(&self, folder: &Path) -> Result<bool, StorageError> {
        let looks_unused = folder::looks_unused(folder).map_err(StorageError::unavailable)?;
        Ok(looks_unused && self.list("")?.is_empty())
    }

    /// The notes whose keys begin with `prefix`, by name.
    pub(super) fn notes(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let mut notes = Vec::new();
        for key in self.tree.list(prefix)? {
            // Another thread may have removed it meanwhile.
            if let (Some(name), Some(value)) = (key.strip_prefix(NOTE), self.tree.get(&key)?) {
                notes.push((name.to_owned(), value));
            }
        }
        Ok(notes)
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let mut keys = self.tree.list(prefix)?;
        keys.extend(self.large.list(prefix)?);
        keys.sort_unstable();
        Ok(keys)
    }
}

/// The prefix of the keys of notes.
pub(super) const NOTE: &str = "note/";

/// Maximum size of a value in sled, in bytes. A leaf of sled 0.34.7 holds up to 16 values, and 17
/// before it is split (`node.rs`, `should_split`). sled writes a page above 128 KiB to a file in
/// `blobs/` that it never fsyncs (`pagecache/blob_io.rs`), and 17 values of this size with their
/// keys stay below that.
pub(super) const MAX_TREE_VALUE: usize = MAX_NOTE;
