//! Syncs a file, and tells a failed disk from a process that lacked a resource.

use std::{io, path::Path};

use keyside_store::file;

/// Why a sync did not succeed.
#[derive(Debug)]
pub(super) enum SyncError {
    /// The disk was not asked, for example because too many files are open. A retry may succeed.
    NotAttempted(io::Error),
    /// The fsync failed. A retry proves nothing: Linux reports the failure only once.
    Failed(io::Error),
}

/// Syncs a file's contents and length. Not its times: for those alone, ext4 would write its journal
/// each time, and wait for everything else in it.
pub(super) fn sync(path: &Path) -> Result<(), SyncError> {
    let file = file::open_regular(path).map_err(SyncError::NotAttempted)?;
    file.sync_data().map_err(SyncError::Failed)
}

impl From<SyncError> for io::Error {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::NotAttempted(error) | SyncError::Failed(error) => error,
        }
    }
}
