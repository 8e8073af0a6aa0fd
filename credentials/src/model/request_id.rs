//! The id of a request: in the response, the log, the run record and the audit log.

use std::{
    io::Write,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// `req_` and 24 hex digits. A random prefix makes it unique across processes, a counter within
/// one. It is neither secret nor hard to guess.
///
/// Stored as text, because each request writes it several times. Does not allocate.
#[derive(Clone, Copy)]
pub struct RequestId([u8; LENGTH]);

impl RequestId {
    /// The id of a new request. A client's own id is never used: clients could write into our logs
    /// with it.
    pub fn next() -> Self {
        // Without randomness, ids repeat at worst; nothing is sealed then either.
        static PROCESS: LazyLock<u64> =
            LazyLock::new(|| getrandom::u64().unwrap_or_else(|_| std::process::id().into()));
        static COUNT: AtomicU64 = AtomicU64::new(1);
        Self::of(*PROCESS, COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Uses the lowest 48 bits of both: the audit log keeps ids of many processes for years, and no
    /// process counts further.
    fn of(process: u64, count: u64) -> Self {
        let mut text = [0; LENGTH];
        let [process, count] = [process, count].map(|number| number & ((1 << 48) - 1));
        // Never an error: the text has this length.
        let _ = write!(&mut text[..], "req_{process:012x}{count:012x}");
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

const LENGTH: usize = "req_".len() + 24;

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn an_id_is_req_and_24_hex_digits() {
        let id = RequestId::of(0x1234_0000_0000_c0de, 0x2_3456_789a);
        assert_eq!(id.as_str(), "req_00000000c0de00023456789a");
    }

    #[test]
    fn no_two_ids_are_equal() {
        assert_ne!(RequestId::next().as_str(), RequestId::next().as_str());
    }
}
