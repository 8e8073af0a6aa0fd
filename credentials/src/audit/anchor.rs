//! The head of the log, kept in a file outside the store: a store that was cut or put back to an older state shows.
//!
//! It is written after the log is on disk and without waiting for the disk itself, so after a power cut it may be a little
//! behind, never ahead. A missing or torn one is therefore no finding.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::Head;
use crate::{
    authentic::{self, Stored},
    file,
    sealing::{Place, SealingKey},
};

pub(super) struct Anchor(Arc<Written>);

struct Written {
    path: PathBuf,
    /// The position that the file holds. Its lock is held while the file is replaced.
    position: Mutex<u64>,
}

impl Anchor {
    pub(super) fn at(path: &Path) -> Self {
        Self(Arc::new(Written {
            path: path.to_owned(),
            position: Mutex::new(0),
        }))
    }

    pub(super) fn read(&self, key: &SealingKey) -> Option<Head> {
        read(&self.0.path, key)
    }

    pub(super) async fn write(&self, key: &SealingKey, head: Head) {
        let stored = authentic::write(key, &PLACE, &head);
        let anchor = self.0.clone();
        let written = tokio::task::spawn_blocking(move || anchor.replace(head, &stored)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "the head of the audit log could not be kept beside the store");
        }
    }
}

impl Written {
    fn replace(&self, head: Head, stored: &[u8]) -> Result<(), file::FileError> {
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        // Of several changes that share a flush, the last one's head stands for all.
        if *position < head.position {
            file::replace_without_waiting(&self.path, stored)?;
            *position = head.position;
        }
        Ok(())
    }
}

/// The head that stands at `path`, if `key` has authenticated it.
pub(crate) fn read(path: &Path, key: &SealingKey) -> Option<Head> {
    let stored = file::read_if_there(path).ok()??;
    Stored::parse(&stored).ok()?.verify(key, &PLACE).ok()
}

/// Writes the head of a log that was restored. On disk when it returns: the head of the log before it, found beside the
/// restored store after a power cut, would keep it from opening.
pub(crate) fn write(path: &Path, key: &SealingKey, head: Head) -> Result<(), file::FileError> {
    let stored = authentic::write(key, &PLACE, &head);
    file::replace(path, &stored, Permissions::from_mode(0o600))
}

const PLACE: Place<'_> = Place::Document { key: "audit-head" };
