//! What is asked of a place to keep things. A backend is untrusted: whether what it hands out is what was written is decided
//! by hashes and signatures, above.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{Effect, StorageError};

/// Objects, which never change, and heads, which are swapped.
///
/// A write that returned is visible to every later read, and survives the end of the process and a power cut once a `sync`
/// that began after it has returned. Writes become durable in the order in which they returned.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// What stands under `key`.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// What stands under each of `keys`, in their order.
    async fn get_all(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.get(key).await?);
        }
        Ok(found)
    }

    /// Writes an object where there is none. Its key holds its hash, so where there is one already it is the same or it is
    /// damaged, and the new one takes its place.
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Replaces what stands under `key`, if that is `expected`: nothing, or exactly these bytes.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] when it is something else; nothing is written then.
    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), StorageError>;

    /// Removes what stands under `key`, if anything does.
    async fn delete(&self, key: &str) -> Result<(), StorageError>;

    /// The keys that begin with `prefix`, in order. For finding what no head names; never for a request.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError>;

    /// Returns when everything written before is on disk. Concurrent callers share one flush.
    ///
    /// # Errors
    /// [`StorageError::Failed`] from the first failure on, until the process is restarted.
    async fn sync(&self) -> Result<(), StorageError>;

    /// Whether there is room for a change of this effect. Asked once, before its first write: a write by itself needs no more
    /// room than [`Effect::Finishes`] does, so that a change which has begun comes to its end.
    ///
    /// # Errors
    /// [`StorageError::Full`].
    async fn check_disk_space(&self, _effect: Effect) -> Result<(), StorageError> {
        Ok(())
    }

    /// What the disk said when it failed to write, if it ever did. From then on it takes nothing, and what was written before
    /// is still read.
    fn failure(&self) -> Option<String> {
        None
    }
}

/// Segments: the records of a chain that its head no longer names one by one.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// Writes segment `number` of a chain. It is on disk when this returns. Writing it again is no error.
    async fn put_new(&self, chain: &str, number: u64, bytes: &[u8]) -> Result<(), StorageError>;

    /// Segment `number` of a chain.
    async fn get(&self, chain: &str, number: u64) -> Result<Option<Vec<u8>>, StorageError>;
}

/// Run records, in blocks. They decide nothing, so they have a log of their own that may lose its oldest blocks.
#[async_trait]
pub trait RunLog: Send + Sync + 'static {
    /// Writes block `position`. Positions count from 1.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] unless `position` follows the last one.
    async fn append(&self, position: u64, block: Vec<u8>) -> Result<(), StorageError>;

    /// Up to `limit` blocks from position `from` on, in order. Those that a disk has damaged are left out.
    async fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StorageError>;

    /// The last position, 0 while there is none.
    async fn last(&self) -> Result<u64, StorageError>;

    /// Goes through all blocks in order and writes in the place of each what `edit` makes of it, if it makes anything. For
    /// what a person may ask to have forgotten: of what was there before, nothing is left once a `sync` has returned.
    async fn edit(&self, edit: Edit) -> Result<(), StorageError>;

    /// Forgets blocks before `position`, the oldest first. Some of them may stay until more can go with them, and the last
    /// one always does, so that positions go on.
    async fn forget(&self, position: u64) -> Result<(), StorageError>;

    /// Returns when everything written before is on disk.
    async fn sync(&self) -> Result<(), StorageError>;
}

/// What is to stand in the place of a block, told its position; nothing to leave it as it is.
pub type Edit = Box<dyn FnMut(u64, &[u8]) -> Option<Vec<u8>> + Send>;

/// What decides nothing: when tokens were last used, results of checks, leases. A crash may lose the last minute of it.
#[async_trait]
pub trait Notes: Send + Sync + 'static {
    /// The note of this name.
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// Replaces a note, if it is `expected`: not there, or exactly these bytes.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] when it is something else.
    async fn swap(
        &self,
        name: &str,
        expected: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), StorageError>;
}

/// A whole backend.
#[derive(Clone)]
pub struct Backend {
    /// Objects and heads.
    pub storage: Arc<dyn Storage>,
    /// Segments.
    pub archive: Arc<dyn Archive>,
    /// Run records.
    pub runs: Arc<dyn RunLog>,
    /// What decides nothing.
    pub notes: Arc<dyn Notes>,
}

impl Backend {
    /// One that is all four.
    pub fn of<T: Storage + Archive + RunLog + Notes>(backend: Arc<T>) -> Self {
        Self {
            storage: backend.clone(),
            archive: backend.clone(),
            runs: backend.clone(),
            notes: backend,
        }
    }
}
