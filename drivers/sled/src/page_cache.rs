//! Chooses what sled has to read so that its page cache shrinks to its capacity.
//!
//! sled 0.34.7 only queues accesses to pages, in 256 shards, and evicts nothing from a shard before
//! 64 accesses are queued there (`lru.rs`). A start reads most pages a few times: without this, all
//! of them would stay in memory, several kilobytes per credential. Repeated reads of one value fill
//! the queue of one shard, so repeated reads of many values fill most of them.

use parking_lot::Mutex;

/// Counts accesses, and samples their keys.
#[derive(Default)]
pub(super) struct PageCache(Mutex<Accesses>);

#[derive(Default)]
struct Accesses {
    /// Accesses since the last eviction.
    count: usize,
    /// Some of their keys: neighbouring keys are on one page.
    keys: Vec<String>,
    is_scheduled: bool,
}

impl PageCache {
    pub(super) fn accessed(&self, key: &str) {
        let mut accesses = self.0.lock();
        if accesses.count.is_multiple_of(SAMPLED) {
            let at = accesses.count / SAMPLED % MAX_KEYS;
            match accesses.keys.get_mut(at) {
                Some(oldest) => key.clone_into(oldest),
                None => accesses.keys.push(key.to_owned()),
            }
        }
        accesses.count += 1;
    }

    /// Whether an eviction is worth its cost and none is scheduled. The caller schedules it.
    pub(super) fn schedule(&self) -> bool {
        let mut accesses = self.0.lock();
        let is_due = accesses.count >= MIN_ACCESSES && !accesses.is_scheduled;
        accesses.is_scheduled |= is_due;
        is_due
    }

    /// Keys to read [`READS`] times each.
    pub(super) fn take_keys(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock()).keys
    }
}

/// Reads of a value after which sled evicts pages: 64 fill the queue, and the next one empties it.
pub(super) const READS: usize = 65;
/// One key of this many is kept. A page has up to 16 values.
const SAMPLED: usize = 16;
/// Kept keys: enough to reach nearly all shards. Reading them takes about 50 ms.
const MAX_KEYS: usize = 1_024;
/// Accesses that load less than about 2 MB.
const MIN_ACCESSES: usize = 1_024;
