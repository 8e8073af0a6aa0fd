//! Memory for keys in use: pages that are not swapped out, in slots that are wiped when freed.
//!
//! The system locks whole pages, and an unprivileged process may lock few of them, so keys share
//! pages: 64 slots in 4 KiB.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use parking_lot::Mutex;
use zeroize::Zeroizing;

/// Two 256-bit keys in one slot: one seals, one authenticates.
pub(crate) struct LockedKeys {
    page: Arc<Page>,
    slot: usize,
}

/// Selects a key of the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Seal,
    Mac,
}

/// Allocates slots, and another page when all are in use.
#[derive(Default)]
pub(crate) struct LockedMemory {
    pages: Mutex<Vec<Arc<Page>>>,
}

impl LockedMemory {
    /// Copies two keys into a slot. The caller must wipe the originals.
    pub(crate) fn hold(&self, seal: &[u8; 32], mac: &[u8; 32]) -> LockedKeys {
        let mut pages = self.pages.lock();
        let free = pages
            .iter()
            .find_map(|page| Some((page.clone(), page.claim()?)));
        let (page, slot) = free.unwrap_or_else(|| {
            let page = Arc::new(Page::new());
            pages.push(page.clone());
            // In a new page all slots are free.
            let slot = page.claim().unwrap_or_default();
            (page, slot)
        });
        page.write(slot, seal, mac);
        LockedKeys { page, slot }
    }
}

impl LockedKeys {
    /// A copy of a key, wiped when dropped.
    pub(crate) fn read(&self, half: Half) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        let words = self.page.words(self.slot, half);
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        key
    }
}

impl Drop for LockedKeys {
    fn drop(&mut self) {
        self.page.write(self.slot, &[0; 32], &[0; 32]);
        self.page.release(self.slot);
    }
}

/// 64 slots of 64 bytes. The words are atomic so that a slot can be written while its neighbours
/// are read. A slot is written only before its handle exists and after it is gone, so relaxed
/// ordering is enough.
struct Page {
    /// Unlocks the page when dropped. Declared before `words`, so that it is dropped before the
    /// memory is freed and possibly reused. `None` if the system's limit is reached.
    _lock: Option<region::LockGuard>,
    words: Box<Words>,
    /// A bit for each slot in use.
    used: AtomicU64,
}

#[repr(align(4096))]
struct Words([AtomicU64; SLOTS * WORDS_PER_SLOT]);

const SLOTS: usize = 64;
const WORDS_PER_SLOT: usize = 8;

impl Page {
    fn new() -> Self {
        let words = Box::new(Words([const { AtomicU64::new(0) }; SLOTS * WORDS_PER_SLOT]));
        let lock = region::lock(words.0.as_ptr(), size_of::<Words>());
        if let Err(error) = &lock {
            warn_once(error);
        }
        Self {
            _lock: lock.ok(),
            words,
            used: AtomicU64::new(0),
        }
    }

    fn claim(&self) -> Option<usize> {
        // Called only under the lock of `LockedMemory`; `release` may clear other bits
        // concurrently.
        let slot = self.used.load(Ordering::Acquire).trailing_ones() as usize;
        (slot < SLOTS).then(|| {
            self.used.fetch_or(1 << slot, Ordering::AcqRel);
            slot
        })
    }

    fn release(&self, slot: usize) {
        self.used.fetch_and(!(1 << slot), Ordering::Release);
    }

    fn write(&self, slot: usize, seal: &[u8; 32], mac: &[u8; 32]) {
        for (half, key) in [(Half::Seal, seal), (Half::Mac, mac)] {
            for (word, bytes) in self.words(slot, half).iter().zip(key.as_chunks::<8>().0) {
                word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
            }
        }
    }

    fn words(&self, slot: usize, half: Half) -> &[AtomicU64] {
        let start = slot * WORDS_PER_SLOT
            + if half == Half::Mac {
                WORDS_PER_SLOT / 2
            } else {
                0
            };
        &self.words.0[start..start + WORDS_PER_SLOT / 2]
    }
}

fn warn_once(error: &region::Error) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    // The master key is checked before there is a log, and that may allocate the first page: the
    // one warning is for the log.
    if tracing::enabled!(tracing::Level::WARN) && !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(%error, "workspace keys could be swapped out: raise the locked-memory limit (ulimit -l)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_returned_as_stored() {
        let memory = LockedMemory::default();
        let held: Vec<_> = (0..200u8)
            .map(|n| memory.hold(&[n; 32], &[n ^ 255; 32]))
            .collect();
        for (n, keys) in (0..200u8).zip(&held) {
            assert_eq!(*keys.read(Half::Seal), [n; 32]);
            assert_eq!(*keys.read(Half::Mac), [n ^ 255; 32]);
        }
        assert_eq!(memory.pages.lock().len(), 4);
    }

    #[test]
    fn a_released_slot_is_wiped_and_reused() {
        let memory = LockedMemory::default();
        let kept = memory.hold(&[1; 32], &[2; 32]);
        let gone = memory.hold(&[3; 32], &[4; 32]);
        let slot = gone.slot;
        drop(gone);
        let words = kept
            .page
            .words(slot, Half::Seal)
            .iter()
            .chain(kept.page.words(slot, Half::Mac));
        assert!(
            words
                .into_iter()
                .all(|word| word.load(Ordering::Relaxed) == 0)
        );
        assert_eq!(memory.hold(&[5; 32], &[6; 32]).slot, slot);
        assert_eq!(*kept.read(Half::Seal), [1; 32]);
    }
}
