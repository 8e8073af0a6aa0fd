//! A disk that has failed a write. It is not trusted again before a restart.

use std::{fmt::Display, sync::OnceLock};

use keyside_store::StorageError;

/// The first failure, for good. Linux reports that it could not write a page back once, to one sync, and marks the page
/// clean: the next sync succeeds without having written it (fsync(2), errseq in the kernel's documentation). sled 0.34.7
/// is no better off: a write that failed inside of it can leave a buffer that is never written, and a flush that waits for
/// it for ever (`pagecache/logger.rs`, `reserve_inner`: the claim stays when `encapsulate` fails). A restart reads what is on the disk.
#[derive(Default)]
pub(super) struct Failure(OnceLock<String>);

impl Failure {
    /// Refuses once there was one.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        match self.reason() {
            None => Ok(()),
            Some(reason) => Err(StorageError::Failed { reason }),
        }
    }

    /// What failed, and what the system said.
    pub(super) fn reason(&self) -> Option<String> {
        self.0.get().cloned()
    }

    /// Notes that writing `what` has failed.
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
    fn the_first_failure_stands() {
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
