//! A cache of the values that were last read one by one, or swapped. Each change reads the heads that
//! it is decided on, and usually finds them here, so that it neither waits for a disk nor hands the
//! read to a thread that may wait.
//!
//! The folder is locked, so no other process changes a value without this one.

use std::collections::VecDeque;

use parking_lot::Mutex;

#[derive(Default)]
pub(super) struct Recent(Mutex<Values>);

#[derive(Default)]
struct Values {
    /// The one that was used last is first.
    latest: VecDeque<(String, Vec<u8>)>,
    changes: u64,
}

/// The number of writes before a read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(u64);

impl Recent {
    pub(super) fn get(&self, key: &str) -> Option<Vec<u8>> {
        let mut values = self.0.lock();
        let at = values.latest.iter().position(|(known, _)| known == key)?;
        let found = values.latest.remove(at)?;
        let value = found.1.clone();
        values.latest.push_front(found);
        Some(value)
    }

    pub(super) fn now(&self) -> Moment {
        Moment(self.0.lock().changes)
    }

    /// Keeps a value that was read, unless any was written since.
    pub(super) fn keep(&self, key: &str, value: &[u8], read_after: Moment) {
        let mut values = self.0.lock();
        if Moment(values.changes) == read_after {
            values.put(key, value);
        }
    }

    /// Call this after each swap, and before the next write.
    pub(super) fn swapped(&self, key: &str, value: &[u8]) {
        self.0.lock().put(key, value);
    }

    /// Call this before each write of a value: a write that fails may have changed it.
    pub(super) fn forget(&self, key: &str) {
        let mut values = self.0.lock();
        values.changes += 1;
        values.latest.retain(|(known, _)| known != key);
    }
}

impl Values {
    fn put(&mut self, key: &str, value: &[u8]) {
        if value.len() <= MAX_LEN {
            self.latest.retain(|(known, _)| known != key);
            self.latest.truncate(MAX_VALUES - 1);
            self.latest.push_front((key.to_owned(), value.to_vec()));
        }
    }
}

/// Together with [`MAX_LEN`]: at most 128 KB.
const MAX_VALUES: usize = 32;
/// Bytes: heads are no longer than this.
const MAX_LEN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_that_were_used_last_are_kept() {
        let recent = Recent::default();
        let key = |number: usize| format!("chain/{number}/head");
        for number in 0..MAX_VALUES {
            recent.swapped(&key(number), &[1]);
        }
        assert_eq!(recent.get(&key(0)), Some(vec![1]));
        recent.swapped("another", &[1]);
        assert_eq!(recent.get(&key(1)), None);
        assert_eq!(recent.get(&key(0)), Some(vec![1]));
        recent.swapped(&key(0), &[2]);
        assert_eq!(recent.get(&key(0)), Some(vec![2]));
        recent.forget(&key(0));
        assert_eq!(recent.get(&key(0)), None);
        recent.swapped("long", &[1; MAX_LEN + 1]);
        assert_eq!(recent.get("long"), None);
    }

    #[test]
    fn a_value_that_was_read_before_a_change_is_not_kept() {
        let recent = Recent::default();
        let before = recent.now();
        recent.keep("key", b"read", before);
        assert_eq!(recent.get("key"), Some(b"read".to_vec()));
        recent.forget("key");
        recent.swapped("key", b"swapped");
        recent.keep("key", b"read", before);
        assert_eq!(recent.get("key"), Some(b"swapped".to_vec()));
    }
}
