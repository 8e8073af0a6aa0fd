//! Remembers that a disk write failed. Nothing is written any more until a restart.

use std::{fmt::Display, sync::OnceLock};

use keyside_store::StorageError;

/// The first failure, latched. Linux reports a failed write-back to one fsync only, and marks the
/// pages clean: the next fsync succeeds although they were never written (fsync(2), errseq in the
/// kernel's documentation). sled 0.34.7 has the same problem inside: after a failed write it may
/// keep a buffer that it never writes, and a flush then waits for that buffer for ever
/// (`pagecache/logger.rs`, `reserve_inner`: the claim stays if `encapsulate` fails). A restart
/// reads what is really on the disk.
#[derive(Default)]
pub(super) struct Failure(OnceLock<String>);

impl Failure {
    /// Fails if there was a failure.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        match self.reason() {
            None => Ok(()),
            Some(reason) => Err(StorageError::Failed { reason }),
        }
    }

    /// What failed, and the operating system's error.
    pub(super) fn reason(&self) -> Option<String> {
        self.0.get().cloned()
    }

    /// Records that writing `what` has failed.
    pub(super) fn latch(&self, what: &str, error: impl Display) -> StorageError {
        let mut is_first = false;
        let reason = self.0.get_or_init(|| {
            is_first = true;
            format!("{what}: {error}")
        });
        if is_first {
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
}
