//! Storage that takes no change, does not say whether it took one, or has those who read audit records wait, when a test says
//! so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use keyside_store::{Archive, Backend, Effect, Memory, Storage, StorageError};
use tokio::sync::watch;

#[derive(Default)]
pub(super) struct FailingLog {
    inner: Arc<Memory>,
    failing: AtomicBool,
    silent: AtomicBool,
    writes: AtomicUsize,
    pub(super) gate: Gate,
}

/// Where those who read audit records wait while a test holds it.
#[derive(Default)]
pub(super) struct Gate {
    held: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

/// Holds a gate until it is dropped.
pub(super) struct Held<'a>(&'a Gate);

impl Gate {
    pub(super) fn hold(&self) -> Held<'_> {
        self.held.send_replace(true);
        Held(self)
    }

    /// Waits until so many have come to the gate while it was held.
    pub(super) async fn arrived(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        arrived.wait_for(|some| *some >= count).await.unwrap();
    }

    /// How many have come to the gate while it was held.
    pub(super) fn arrivals(&self) -> usize {
        *self.arrived.borrow()
    }

    pub(super) async fn pass(&self) {
        let mut held = self.held.subscribe();
        let is_held = *held.borrow();
        if is_held {
            self.arrived.send_modify(|some| *some += 1);
        }
        held.wait_for(|held| !held).await.unwrap();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.send_replace(false);
    }
}

impl FailingLog {
    /// As a backend; its run records and notes never fail.
    pub(super) fn backend(self: &Arc<Self>) -> Backend {
        Backend {
            storage: self.clone(),
            archive: self.clone(),
            runs: self.inner.clone(),
            notes: self.inner.clone(),
        }
    }

    /// There is no room for a change from now on, or there is again.
    pub(super) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// Whether a change is on disk is not said from now on, or is said again.
    pub(super) fn fall_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    /// How many writes there were.
    pub(super) fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// What someone does who writes to the store: the commit with this record is another one.
    pub(super) fn alter_record(&self, event: &str) {
        let event = format!("\"event\":\"{event}\"");
        let holds = |object: &[u8]| {
            let mut windows = object.windows(event.len());
            windows.any(|window| window == event.as_bytes())
        };
        let mut contents = self.inner.contents();
        let mut objects = contents.objects.values_mut();
        let object = objects.find(|object| holds(object)).unwrap();
        let last = object.len() - 1;
        object[last] ^= 1;
    }

    /// What someone does who writes to the store: the record of a credential is gone.
    pub(super) fn remove_record(&self, credential: &str) {
        let begins = format!("{{\"id\":\"{credential}\"");
        // Each object begins with eight bytes of its own.
        let is_it = |object: &[u8]| {
            let record = object.get(8..).unwrap_or_default();
            record.starts_with(begins.as_bytes())
        };
        let mut contents = self.inner.contents();
        contents.objects.retain(|_, object| !is_it(object));
    }

    fn count(&self) {
        self.writes.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Storage for FailingLog {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let found = Storage::get(&*self.inner, key).await?;
        if found.as_deref().is_some_and(holds_a_record) {
            self.gate.pass().await;
        }
        Ok(found)
    }

    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.count();
        Storage::put_new(&*self.inner, key, bytes).await
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        self.count();
        Storage::swap(&*self.inner, key, expected, bytes).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.count();
        self.inner.delete(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.inner.list(prefix).await
    }

    async fn sync(&self) -> Result<(), StorageError> {
        match self.silent.load(Ordering::SeqCst) {
            true => Err(StorageError::unavailable("it does not answer")),
            false => Storage::sync(&*self.inner).await,
        }
    }

    async fn expect_room(&self, _effect: Effect) -> Result<(), StorageError> {
        match self.failing.load(Ordering::SeqCst) {
            true => Err(StorageError::Full {
                available: 0,
                needed: 1,
            }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Archive for FailingLog {
    async fn put_new(&self, chain: &str, number: u64, bytes: &[u8]) -> Result<(), StorageError> {
        Archive::put_new(&*self.inner, chain, number, bytes).await
    }

    async fn get(&self, chain: &str, number: u64) -> Result<Option<Vec<u8>>, StorageError> {
        self.gate.pass().await;
        Archive::get(&*self.inner, chain, number).await
    }
}

/// Of all objects, only those with the records of a commit say what happened.
fn holds_a_record(object: &[u8]) -> bool {
    const EVENT: &[u8] = b"\"event\":\"";
    object.windows(EVENT.len()).any(|window| window == EVENT)
}
