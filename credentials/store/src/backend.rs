//! The traits that a storage backend implements. A backend is untrusted: the layers above check
//! everything it returns against hashes and signatures.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{Effect, StorageError};

/// What a commit writes.
#[derive(Clone)]
pub struct StoredCommit {
    /// What the change does to existing access; decides how full the disk may be.
    pub effect: Effect,
    /// The new objects, each with its key.
    pub objects: Vec<(String, Vec<u8>)>,
    /// The key of the head.
    pub head: String,
    /// The head that is replaced; `None` if it is the first.
    pub expected: Option<Vec<u8>>,
    /// The new head.
    pub bytes: Vec<u8>,
}

/// The step of a commit that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitStep {
    /// Making sure that it can be written. Nothing was.
    Begin,
    /// Writing the objects. Some may be written, and nothing names them yet.
    Objects,
    /// Swapping the head. All objects are written, so the swap may be tried again.
    Swap,
    /// Syncing to disk, or it is not known which step. Others may see the new head already.
    Sync,
}

/// Stores objects, which never change, and heads, which are swapped.
///
/// A completed write is visible to every later read. It survives the end of the process and a power
/// cut once a `sync` that began after it has returned. Writes become durable in the order in which
/// they returned.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Returns the value of `key`.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// Returns the value of each of `keys`, in the same order.
    async fn get_all(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.get(key).await?);
        }
        Ok(found)
    }

    /// Writes an object. The key contains the object's hash, so an existing value is either
    /// identical or damaged, and is overwritten.
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Compare-and-swap: replaces the value of `key` if it equals `expected` (`None`: the key does
    /// not exist).
    ///
    /// # Errors
    /// [`StorageError::Conflict`] if the value differs; nothing is written then.
    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), StorageError>;

    /// Deletes `key`, if it exists.
    ///
    /// # Errors
    /// [`StorageError::Full`] if that takes disk space which is kept for changes. Nothing is deleted
    /// then.
    async fn delete(&self, key: &str) -> Result<(), StorageError>;

    /// Deletes those of `keys` that exist, in this order.
    ///
    /// # Errors
    /// As with [`Self::delete`]. The keys before the one that failed are deleted then.
    async fn delete_all(&self, keys: &[String]) -> Result<(), StorageError> {
        for key in keys {
            self.delete(key).await?;
        }
        Ok(())
    }

    /// Lists the keys that begin with `prefix`, sorted. Used to find garbage that no head names;
    /// never on the request path.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError>;

    /// Returns when all earlier writes are on disk. Concurrent callers share one flush.
    ///
    /// # Errors
    /// [`StorageError::Failed`] from the first failure on, until the process is restarted.
    async fn sync(&self) -> Result<(), StorageError>;

    /// Checks that there is enough disk space for a change of this effect. Called once, before the
    /// change's first write: the writes themselves only need the space of [`Effect::Finishes`], so
    /// a change that has begun can complete.
    ///
    /// # Errors
    /// [`StorageError::Full`].
    async fn check_disk_space(&self, _effect: Effect) -> Result<(), StorageError> {
        Ok(())
    }

    /// Writes a commit: checks the disk space, writes the objects, swaps the head, and returns when
    /// all of it is on disk. A backend whose calls cost more than what they do takes it in one.
    ///
    /// # Errors
    /// Those of the step that failed. The steps after it were not begun.
    async fn commit(&self, commit: &StoredCommit) -> Result<(), (CommitStep, StorageError)> {
        let step = |step| move |error| (step, error);
        let space = self.check_disk_space(commit.effect).await;
        space.map_err(step(CommitStep::Begin))?;
        for (key, bytes) in &commit.objects {
            let put = self.put_new(key, bytes).await;
            put.map_err(step(CommitStep::Objects))?;
        }
        let StoredCommit { head, expected, .. } = commit;
        let swap = self.swap(head, expected.as_deref(), &commit.bytes);
        swap.await.map_err(step(CommitStep::Swap))?;
        self.sync().await.map_err(step(CommitStep::Sync))
    }

    /// The error of the first failed disk write, if there was one. After it the backend accepts no
    /// writes; reads still work.
    fn failure(&self) -> Option<String> {
        None
    }
}

/// Stores segments: older records of a chain, which its head no longer names individually.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// Writes segment `number` of a chain, and returns when it is on disk. Idempotent, because a
    /// segment is written before a head names it; anything else in its place is overwritten.
    async fn put_new(&self, chain: &str, number: u64, bytes: &[u8]) -> Result<(), StorageError>;

    /// Returns segment `number` of a chain.
    async fn get(&self, chain: &str, number: u64) -> Result<Option<Vec<u8>>, StorageError>;
}

/// Stores run records, in blocks. No decision depends on them, so they have a log of their own,
/// whose oldest blocks may be dropped.
#[async_trait]
pub trait RunLog: Send + Sync + 'static {
    /// Appends block `position`. Positions count from 1.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] unless `position` follows the last one.
    async fn append(&self, position: u64, block: Vec<u8>) -> Result<(), StorageError>;

    /// Returns up to `limit` blocks from position `from` on, in order. Damaged blocks are skipped.
    async fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StorageError>;

    /// The position of the last block; 0 if there is none.
    async fn last(&self) -> Result<u64, StorageError>;

    /// Passes every block to `edit`, in order, and replaces those for which it returns new
    /// contents. Used to erase personal data: once a `sync` has returned, the old contents are
    /// gone.
    async fn edit(&self, edit: Edit) -> Result<(), StorageError>;

    /// Deletes blocks before `position`, oldest first. Some may stay until their whole file can be
    /// deleted, and the last block always stays, so that positions keep increasing.
    async fn forget(&self, position: u64) -> Result<(), StorageError>;

    /// Returns when all earlier writes are on disk.
    async fn sync(&self) -> Result<(), StorageError>;
}

/// Receives a block's position and contents. Returns the new contents, or `None` to keep the block.
pub type Edit = Box<dyn FnMut(u64, &[u8]) -> Option<Vec<u8>> + Send>;

/// Stores values outside of all chains: when tokens were last used, results of checks, leases, and
/// counts of spend. A crash may lose the last minute of writes, unless a `sync` has returned since.
#[async_trait]
pub trait Notes: Send + Sync + 'static {
    /// Returns the value of a note.
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// Returns the names and values of the notes whose names begin with `prefix`, in order.
    async fn under(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError>;

    /// Compare-and-swap: replaces a note if its value equals `expected` (`None`: it does not
    /// exist).
    ///
    /// # Errors
    /// [`StorageError::Conflict`] if the value differs. A value above [`MAX_NOTE`](crate::MAX_NOTE) is refused.
    async fn swap(
        &self,
        name: &str,
        expected: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), StorageError>;

    /// Removes a note if it exists.
    async fn remove(&self, name: &str) -> Result<(), StorageError>;

    /// Returns when all earlier writes are on disk.
    async fn sync(&self) -> Result<(), StorageError>;
}

/// The four stores of one backend.
#[derive(Clone)]
pub struct Backend {
    /// Objects and heads.
    pub storage: Arc<dyn Storage>,
    /// Segments.
    pub archive: Arc<dyn Archive>,
    /// Run records.
    pub runs: Arc<dyn RunLog>,
    /// Last-used times, results of checks, leases, counts of spend.
    pub notes: Arc<dyn Notes>,
}

impl Backend {
    /// A backend whose four stores are one object.
    pub fn of<T: Storage + Archive + RunLog + Notes>(backend: Arc<T>) -> Self {
        Self {
            storage: backend.clone(),
            archive: backend.clone(),
            runs: backend.clone(),
            notes: backend,
        }
    }
}
