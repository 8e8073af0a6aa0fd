//! The files in which sled keeps what is too large for its log: values and whole pages above a quarter of a segment, which
//! is 128 KiB.
//!
//! sled 0.34.7 writes such a file once, under a name of its own (`pagecache/blob_io.rs`, `write_blob`), and fsyncs neither the
//! file nor the folder. When the log points at one that is not there, a start skips that write and goes on with later
//! ones; when it is cut short, a start ends there, or fails.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::sync::{SyncError, sync};

/// The blobs of a store, and which of them are on disk.
pub(super) struct Blobs {
    folder: PathBuf,
    synced: HashSet<OsString>,
    /// The last sync did not come to its end.
    behind: bool,
}

impl Blobs {
    /// Of the store in this folder; none is known to be on disk yet.
    pub(super) fn of(store: &Path) -> Self {
        Self {
            folder: store.join(FOLDER),
            synced: HashSet::new(),
            behind: false,
        }
    }

    /// Whether sled has made the folder for them.
    pub(super) fn are_there(&self) -> bool {
        self.folder.is_dir()
    }

    /// Brings those to disk that are new since the last time, then the folder that names them. It costs a listing of the
    /// folder where there are none. sled removes old ones meanwhile, and never writes to one again.
    pub(super) fn sync(&mut self) -> Result<(), SyncError> {
        self.behind = true;
        let (mut there, mut any_new) = (HashSet::with_capacity(self.synced.len()), false);
        for entry in fs::read_dir(&self.folder).map_err(SyncError::NotAsked)? {
            let name = entry.map_err(SyncError::NotAsked)?.file_name();
            if !self.synced.contains(&name) {
                any_new |= sync_file(&self.folder.join(&name))?;
            }
            there.insert(name);
        }
        if any_new {
            sync(&self.folder)?;
        }
        self.synced = there;
        self.behind = false;
        Ok(())
    }

    /// Does what the last sync could not do, if there is any of that.
    pub(super) fn catch_up(&mut self) -> Result<(), SyncError> {
        match self.behind {
            true => self.sync(),
            false => Ok(()),
        }
    }
}

/// Says whether there still was such a file.
fn sync_file(path: &Path) -> Result<bool, SyncError> {
    match sync(path) {
        Err(SyncError::NotAsked(error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        synced => synced.map(|()| true),
    }
}

/// In the store's folder; made by sled when it opens.
const FOLDER: &str = "blobs";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_synced_once_and_forgotten_when_it_is_gone() {
        let store = tempfile::tempdir().unwrap();
        let folder = store.path().join(FOLDER);
        fs::create_dir(&folder).unwrap();
        let mut blobs = Blobs::of(store.path());
        let known = |blobs: &Blobs| {
            let mut names: Vec<_> = blobs.synced.iter().cloned().collect();
            names.sort();
            names
        };
        blobs.sync().unwrap();
        assert!(known(&blobs).is_empty());
        for name in ["1", "2"] {
            fs::write(folder.join(name), "a value").unwrap();
            blobs.sync().unwrap();
        }
        assert_eq!(known(&blobs), ["1", "2"]);
        fs::remove_file(folder.join("1")).unwrap();
        blobs.sync().unwrap();
        assert_eq!(known(&blobs), ["2"]);
        fs::remove_dir_all(&folder).unwrap();
        blobs.sync().unwrap_err();
    }
}
