//! Makes sled evict pages while it reads, so that its page cache keeps to its capacity.
//!
//! sled 0.34.7 only queues accesses to pages, in 256 shards, and evicts nothing from a shard before
//! 64 accesses are queued there (`lru.rs`). A start reads each page a few times: without this, the
//! pages that it reads would nearly all stay in memory, several kilobytes per credential.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts reads of values.
#[derive(Default)]
pub(super) struct PageCache {
    reads: AtomicUsize,
}

impl PageCache {
    /// Counts a read. Every sixteenth time, `again` repeats it until sled evicts pages from the
    /// shard of this one: about 30 microseconds.
    pub(super) fn after_read(&self, again: impl Fn()) {
        if self
            .reads
            .fetch_add(1, Relaxed)
            .is_multiple_of(READS_PER_EVICTION)
        {
            (0..ACCESSES_PER_EVICTION).for_each(|_| again());
        }
    }
}

/// A page has up to 16 values, so that this is about once per page.
const READS_PER_EVICTION: usize = 16;
/// 64 accesses fill the queue of a shard, and the next one empties it.
const ACCESSES_PER_EVICTION: usize = 65;
