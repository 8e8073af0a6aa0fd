//! A backend that fails on demand: at a chosen write, at random operations, for lack of disk space,
//! or permanently.

mod gate;
mod notes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::sleep;

pub use self::{
    gate::{Gate, GateGuard},
    notes::FaultyNotes,
};
use crate::{
    backend::{Archive, Backend, Edit, RunLog, Storage},
    error::{Effect, StorageError},
};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation is not performed, and an error is returned.
    Refused,
    /// The operation is performed, but an error is returned.
    AnswerLost,
}

/// What happens to one operation, read or write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Incident {
    /// Delay before the operation.
    pub delay: Duration,
    /// How the operation then fails, if it does.
    pub fault: Option<Fault>,
    /// The calling process crashes: this and all later operations fail.
    pub crash: bool,
}

type IncidentSource = Box<dyn FnMut() -> Incident + Send>;

/// Wraps another backend and injects faults.
pub struct Faulty {
    inner: Backend,
    /// Number of writes until the first that fails, from 1; 0 if none is to fail.
    writes_until_fault: AtomicUsize,
    /// How many writes fail from then on.
    faults_left: AtomicUsize,
    fault_occurred: AtomicBool,
    answer_is_lost: AtomicBool,
    /// Decides what happens to each operation, if it is set.
    draw: Mutex<Option<IncidentSource>>,
    crashed: AtomicBool,
    /// The first effect, in the order of [`Effect`], for which there is disk space.
    lowest_effect: AtomicU8,
    syncs_fail: AtomicBool,
    writes: AtomicUsize,
    /// Every read of audit records passes this gate.
    pub records: Gate,
    /// Every read of objects passes this gate, with what it has read.
    pub objects: Gate,
}

impl Faulty {
    /// Wraps `inner`, without any fault yet.
    pub fn new(inner: Backend) -> Self {
        Self {
            inner,
            writes_until_fault: AtomicUsize::new(0),
            faults_left: AtomicUsize::new(0),
            fault_occurred: false.into(),
            answer_is_lost: false.into(),
            draw: Mutex::default(),
            crashed: false.into(),
            lowest_effect: AtomicU8::new(Effect::Adds as u8),
            syncs_fail: false.into(),
            writes: AtomicUsize::new(0),
            records: Gate::default(),
            objects: Gate::default(),
        }
    }

    /// Makes `count` writes fail, beginning with the `number`th from now, counted from 1.
    pub fn fail(&self, number: usize, count: usize, fault: Fault) {
        self.answer_is_lost
            .store(fault == Fault::AnswerLost, Ordering::SeqCst);
        self.faults_left.store(count, Ordering::SeqCst);
        self.writes_until_fault.store(number, Ordering::SeqCst);
    }

    /// Lets `draw` decide what happens to each operation on objects, heads and segments.
    pub fn draw(&self, draw: impl FnMut() -> Incident + Send + 'static) {
        *self.draw.lock() = Some(Box::new(draw));
    }

    /// Stops all faults, except a crash. Returns whether a fault set by [`Self::fail`] occurred.
    pub fn heal(&self) -> bool {
        *self.draw.lock() = None;
        self.writes_until_fault.store(0, Ordering::SeqCst);
        self.fault_occurred.swap(false, Ordering::SeqCst)
    }

    /// Whether the calling process has crashed: a test then opens the same inner backend again.
    pub fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::SeqCst)
    }

    /// Leaves disk space only for changes of this effect and of those after it, in the order of
    /// [`Effect`].
    pub fn reserve_disk_space_for(&self, effect: Effect) {
        self.lowest_effect.store(effect as u8, Ordering::SeqCst);
    }

    /// Sets whether every `sync` fails.
    pub fn fail_syncs(&self, fail: bool) {
        self.syncs_fail.store(fail, Ordering::SeqCst);
    }

    /// Number of writes so far.
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// The wrapped backend. Run records and notes never fail: see [`FaultyNotes`].
    pub fn backend(self: &Arc<Self>) -> Backend {
        Backend {
            storage: self.clone(),
            archive: self.clone(),
            ..self.inner.clone()
        }
    }

    fn next_incident(&self) -> Incident {
        let mut source = self.draw.lock();
        source.as_mut().map(|draw| draw()).unwrap_or_default()
    }

    /// The fault that [`Self::fail`] has set for this write.
    fn scheduled_fault(&self) -> Option<Fault> {
        let left =
            self.writes_until_fault
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    (left > 1).then(|| left - 1)
                });
        let is_due = left == Err(1);
        if !is_due {
            return None;
        }
        let fails = self
            .faults_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
                count.checked_sub(1)
            });
        if fails.is_err() {
            self.writes_until_fault.store(0, Ordering::SeqCst);
            return None;
        }
        self.fault_occurred.store(true, Ordering::SeqCst);
        Some(match self.answer_is_lost.load(Ordering::SeqCst) {
            true => Fault::AnswerLost,
            false => Fault::Refused,
        })
    }

    async fn faulty_read<T>(
        &self,
        read: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let fault = self.next_fault().await?;
        run_with_fault(read, fault).await
    }

    async fn read_value(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let found = self.faulty_read(self.inner.storage.get(key)).await?;
        if found.as_deref().is_some_and(holds_a_record) {
            self.records.pass().await;
        }
        Ok(found)
    }

    async fn faulty_write<T>(
        &self,
        write: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let drawn = self.next_fault().await?;
        run_with_fault(write, drawn.or(self.scheduled_fault())).await
    }

    /// Waits, and returns the fault that is drawn for the next operation.
    async fn next_fault(&self) -> Result<Option<Fault>, StorageError> {
        let incident = self.next_incident();
        if !incident.delay.is_zero() {
            sleep(incident.delay).await;
        }
        match self.crashed.fetch_or(incident.crash, Ordering::SeqCst) {
            true => Err(error()),
            false => Ok(incident.fault),
        }
    }
}

async fn run_with_fault<T>(
    operation: impl Future<Output = Result<T, StorageError>>,
    fault: Option<Fault>,
) -> Result<T, StorageError> {
    match fault {
        None => operation.await,
        Some(Fault::Refused) => Err(error()),
        Some(Fault::AnswerLost) => {
            let _ = operation.await;
            Err(error())
        }
    }
}

fn error() -> StorageError {
    StorageError::unavailable("a fault")
}

fn is_object(key: &str) -> bool {
    key.contains("/object/")
}

/// Only the objects with a commit's records contain events.
fn holds_a_record(object: &[u8]) -> bool {
    const EVENT: &[u8] = b"\"event\":\"";
    object.windows(EVENT.len()).any(|window| window == EVENT)
}

#[async_trait]
impl Storage for Faulty {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let found = self.read_value(key).await?;
        if is_object(key) {
            self.objects.pass().await;
        }
        Ok(found)
    }

    async fn get_all(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.read_value(key).await?);
        }
        if keys.iter().any(|key| is_object(key)) {
            self.objects.pass().await;
        }
        Ok(found)
    }

    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.faulty_write(self.inner.storage.put_new(key, bytes))
            .await
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        self.faulty_write(self.inner.storage.swap(key, expected, bytes))
            .await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.faulty_write(self.inner.storage.delete(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.faulty_read(self.inner.storage.list(prefix)).await
    }

    async fn sync(&self) -> Result<(), StorageError> {
        match self.syncs_fail.load(Ordering::SeqCst) {
            true => Err(error()),
            false => self.faulty_write(self.inner.storage.sync()).await,
        }
    }

    async fn check_disk_space(&self, effect: Effect) -> Result<(), StorageError> {
        match (effect as u8) < self.lowest_effect.load(Ordering::SeqCst) {
            true => Err(StorageError::Full {
                available: 0,
                needed: 1,
            }),
            false => self.inner.storage.check_disk_space(effect).await,
        }
    }

    fn failure(&self) -> Option<String> {
        self.inner.storage.failure()
    }
}

#[async_trait]
impl Archive for Faulty {
    async fn put_new(&self, chain: &str, number: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.faulty_write(self.inner.archive.put_new(chain, number, bytes))
            .await
    }

    async fn get(&self, chain: &str, number: u64) -> Result<Option<Vec<u8>>, StorageError> {
        self.records.pass().await;
        self.faulty_read(self.inner.archive.get(chain, number))
            .await
    }
}

#[async_trait]
impl RunLog for Faulty {
    async fn append(&self, position: u64, block: Vec<u8>) -> Result<(), StorageError> {
        self.faulty_write(self.inner.runs.append(position, block))
            .await
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        self.inner.runs.read(from, limit).await
    }

    async fn last(&self) -> Result<u64, StorageError> {
        self.inner.runs.last().await
    }

    async fn edit(&self, edit: Edit) -> Result<(), StorageError> {
        self.faulty_write(self.inner.runs.edit(edit)).await
    }

    async fn forget(&self, position: u64) -> Result<(), StorageError> {
        self.faulty_write(self.inner.runs.forget(position)).await
    }

    async fn sync(&self) -> Result<(), StorageError> {
        self.inner.runs.sync().await
    }
}
