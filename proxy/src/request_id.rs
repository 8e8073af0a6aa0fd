//! Names one request in the response, the log, the run record and the audit.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// `req_` and 24 hex digits: unique across processes by a random prefix, within
/// one by a counter. Not a secret and not unguessable.
#[derive(Clone, Copy)]
pub(crate) struct RequestId {
    process: u32,
    count: u64,
}

impl RequestId {
    pub(crate) fn next() -> Self {
        static PROCESS: LazyLock<u32> =
            LazyLock::new(|| getrandom::u32().unwrap_or_else(|_| std::process::id()));
        static COUNT: AtomicU64 = AtomicU64::new(1);
        Self {
            process: *PROCESS,
            count: COUNT.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "req_{:08x}{:016x}", self.process, self.count)
    }
}
