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
    /// Number of writes that have begun.
    writes: u64,
    is_writing: bool,
}

/// A moment at which nothing is being written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(u64);

/// A write of a value. Ends when it is dropped.
pub(super) struct Write<'a> {
    recent: &'a Recent,
    key: &'a str,
}

impl Recent {
    pub(super) fn get(&self, key: &str) -> Option<Vec<u8>> {
        let mut values = self.0.lock();
        let at = values.latest.iter().position(|(known, _)| known == key)?;
        let found = values.latest.remove(at)?;
        let value = found.1.clone();
        values.latest.push_front(found);
        Some(value)
    }

    /// The moment before a read; `None` during a write, which a read may see or not.
    pub(super) fn now(&self) -> Option<Moment> {
        let values = self.0.lock();
        (!values.is_writing).then_some(Moment(values.writes))
    }

    /// Keeps a value that was read, unless a write has begun since `before` the read.
    pub(super) fn keep(&self, key: &str, value: &[u8], before: Option<Moment>) {
        let mut values = self.0.lock();
        if before == Some(Moment(values.writes)) {
            values.put(key, value);
        }
    }

    /// Begins a write, and forgets the value: the write may fail and be made all the same. There is
    /// one write at a time.
    pub(super) fn begin_write<'a>(&'a self, key: &'a str) -> Write<'a> {
        let mut values = self.0.lock();
        values.writes += 1;
        values.is_writing = true;
        values.latest.retain(|(known, _)| known != key);
        Write { recent: self, key }
    }
}

impl Write<'_> {
    /// Keeps the value that was written.
    pub(super) fn keep(&self, value: &[u8]) {
        self.recent.0.lock().put(self.key, value);
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        self.recent.0.lock().is_writing = false;
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

    fn write(recent: &Recent, key: &str, value: &[u8]) {
        recent.begin_write(key).keep(value);
    }

    #[test]
    fn the_values_that_were_used_last_are_kept() {
        let recent = Recent::default();
        let key = |number: usize| format!("chain/{number}/head");
        for number in 0..MAX_VALUES {
            write(&recent, &key(number), &[1]);
        }
        assert_eq!(recent.get(&key(0)), Some(vec![1]));
        write(&recent, "another", &[1]);
        assert_eq!(recent.get(&key(1)), None);
        assert_eq!(recent.get(&key(0)), Some(vec![1]));
        write(&recent, &key(0), &[2]);
        assert_eq!(recent.get(&key(0)), Some(vec![2]));
        // A write that failed, or of a value that is not kept.
        drop(recent.begin_write(&key(0)));
        assert_eq!(recent.get(&key(0)), None);
        write(&recent, "long", &[1; MAX_LEN + 1]);
        assert_eq!(recent.get("long"), None);
    }

    #[test]
    fn a_value_that_was_read_before_or_during_a_write_is_not_kept() {
        let recent = Recent::default();
        let before = recent.now();
        recent.keep("key", b"read", before);
        assert_eq!(recent.get("key"), Some(b"read".to_vec()));
        let writing = recent.begin_write("key");
        let during = recent.now();
        for moment in [before, during] {
            recent.keep("key", b"read", moment);
            assert_eq!(recent.get("key"), None);
        }
        writing.keep(b"written");
        drop(writing);
        for moment in [before, during] {
            recent.keep("key", b"read", moment);
            assert_eq!(recent.get("key"), Some(b"written".to_vec()));
        }
        recent.keep("key", b"written", recent.now());
        assert_eq!(recent.get("key"), Some(b"written".to_vec()));
    }
}
