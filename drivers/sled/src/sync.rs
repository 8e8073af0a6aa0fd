//! Bringing a file or a folder to disk, and telling a disk that has failed from a system that was short of something.

use std::{fs::File, io, path::Path};

/// Why something is not known to be on disk.
#[derive(Debug)]
pub(super) enum SyncError {
    /// The disk was not asked: too many open files, perhaps. The next try tells.
    NotAttempted(io::Error),
    /// The disk was asked, and said no. The next try tells nothing.
    Failed(io::Error),
}

pub(super) fn sync(path: &Path) -> Result<(), SyncError> {
    let file = File::open(path).map_err(SyncError::NotAttempted)?;
    file.sync_all().map_err(SyncError::Failed)
}

impl From<SyncError> for io::Error {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::NotAttempted(error) | SyncError::Failed(error) => error,
        }
    }
}
