//! Remembers that a disk write failed. Nothing is written any more until a restart, and the restart
//! reads what is really on the disk.

use std::{
    fmt::Display,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use keyside_store::{
    StorageError,
    file::{self, FileError},
};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// The first failure, latched. Linux reports a failed write-back to one fsync only, and marks the
/// pages clean: the next fsync succeeds although they were never written (fsync(2), errseq in the
/// kernel's documentation). sled 0.34.7 has the same problem inside: after a failed write it may
/// keep a buffer that it never writes, and a flush then waits for that buffer for ever
/// (`pagecache/logger.rs`, `reserve_inner`: the claim stays if `encapsulate` fails).
#[derive(Default)]
pub(super) struct Failure {
    reason: OnceLock<String>,
    /// The folder of a store that is not only read.
    marked_in: Option<PathBuf>,
}

impl Failure {
    /// Without a failure yet. A failure will be marked in this folder for the next start.
    pub(super) fn marked_in(folder: &Path) -> Self {
        Self {
            reason: OnceLock::new(),
            marked_in: Some(folder.to_owned()),
        }
    }

    /// Fails if there was a failure.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        match self.reason() {
            None => Ok(()),
            Some(reason) => Err(StorageError::Failed { reason }),
        }
    }

    /// What failed, and the operating system's error.
    pub(super) fn reason(&self) -> Option<String> {
        self.reason.get().cloned()
    }

    /// Records that writing `what` has failed.
    pub(super) fn latch(&self, what: &str, error: impl Display) -> StorageError {
        let mut is_first = false;
        let reason = self.reason.get_or_init(|| {
            is_first = true;
            format!("{what}: {error}")
        });
        if is_first {
            if let Some(folder) = &self.marked_in {
                mark(folder);
            }
            tracing::error!(
                %reason,
                "a write to the store failed: no change is accepted until Keyside is restarted"
            );
        }
        StorageError::Failed {
            reason: reason.clone(),
        }
    }
}

/// Marks for the next start that a write failed. If that fails, too, the file system is read-only, and
/// mounting it again empties its cache.
pub(super) fn mark(folder: &Path) {
    let marker = folder.join(FAILURE_MARKER);
    if let Err(error) = File::create(&marker) {
        tracing::warn!(file = %marker.display(), %error, "a failed write cannot be marked for the next start");
    }
}

/// Lets sled read its log from the disk if a write failed. The system still has the pages in memory
/// that it could not write, and takes them for written (Rebello and others, "Can Applications Recover
/// from fsync Failures?", USENIX ATC 2020): sled would continue a log of which a part will be gone.
pub(super) fn drop_unwritten(folder: &Path, log: &Path) -> Result<(), FileError> {
    let marker = folder.join(FAILURE_MARKER);
    if !marker.exists() {
        return Ok(());
    }
    let file = file::open_regular(log).map_err(FileError::at(log))?;
    let dropped = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    dropped.map_err(|errno| FileError::at(log)(errno.into()))?;
    fs::remove_file(&marker).map_err(FileError::at(&marker))
}

/// A file that exists from a failed write to the next start.
pub(super) const FAILURE_MARKER: &str = "failed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_failure_is_kept() {
        let failure = Failure::default();
        failure.check().unwrap();
        for what in ["db", "blobs"] {
            let error = failure.latch(what, "Input/output error").to_string();
            assert!(error.contains("db: Input/output error"), "{error}");
            assert!(error.contains("restarted"), "{error}");
        }
        let refused = failure.check().unwrap_err();
        assert!(matches!(refused, StorageError::Failed { .. }), "{refused}");
    }

    #[test]
    fn a_failure_is_marked_until_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let (log, marker) = (folder.path().join("db"), folder.path().join(FAILURE_MARKER));
        fs::write(&log, "contents").unwrap();
        let failure = Failure::marked_in(folder.path());
        drop_unwritten(folder.path(), &log).unwrap();
        assert!(!marker.exists());
        failure.latch("db", "Input/output error");
        assert!(marker.exists());
        drop_unwritten(folder.path(), &log).unwrap();
        assert!(!marker.exists());
        assert_eq!(fs::read(&log).unwrap(), b"contents");
    }
}
