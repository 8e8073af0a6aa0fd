//! Syncs a file or folder, and tells a failed disk from a process that lacked a resource.

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

pub(super) fn sync(path: &Path) -> Result<(), SyncError> {
    let file = file::open_regular(path).map_err(SyncError::NotAttempted)?;
    file.sync_all().map_err(SyncError::Failed)
}

impl From<SyncError> for io::Error {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::NotAttempted(error) | SyncError::Failed(error) => error,
        }
    }
}
