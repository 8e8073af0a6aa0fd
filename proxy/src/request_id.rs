//! The id of a request: in the response, the log, the run record and the audit log.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// `req_` and 24 hex digits. A random prefix makes it unique across processes, a counter within
/// one. It is neither secret nor hard to guess.
///
/// Stored as text, because each request writes it several times.
#[derive(Clone, Copy)]
pub(crate) struct RequestId([u8; LENGTH]);

/// When a request's head arrived, and the id that it was given.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) request_id: RequestId,
    pub(crate) at: Instant,
}

impl RequestId {
    pub(crate) fn next() -> Self {
        static PROCESS: LazyLock<u32> =
            LazyLock::new(|| getrandom::u32().unwrap_or_else(|_| std::process::id()));
        static COUNT: AtomicU64 = AtomicU64::new(1);
        Self::of(*PROCESS, COUNT.fetch_add(1, Ordering::Relaxed))
    }

    fn of(process: u32, count: u64) -> Self {
        let mut text = [0; LENGTH];
        let (prefix, digits) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        let (high, low) = digits.split_at_mut(8);
        write_hex(process.into(), high);
        write_hex(count, low);
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Writes the lowest hex digits of `number`, as many as fit.
fn write_hex(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number % 16) as usize];
        number /= 16;
    }
}

const PREFIX: &[u8] = b"req_";
const LENGTH: usize = PREFIX.len() + 24;

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn an_id_is_req_and_24_hex_digits() {
        let id = RequestId::of(0xc0de, 0x1_2345_6789_abcd);
        assert_eq!(id.as_str(), "req_0000c0de000123456789abcd");
    }

    #[test]
    fn no_two_ids_are_equal() {
        assert_ne!(RequestId::next().as_str(), RequestId::next().as_str());
    }
}
