//! Wall-clock time, passed in so that tests can control it. A commit is never earlier than its
//! predecessor, whose process may have another clock: `chains/accepted_clock.rs`.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;

/// Tells the wall-clock time. Not for measuring durations.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the clock that is passed in"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that never goes back, so that expired credentials do not become valid when someone sets
/// the time. Across restarts, it starts from the latest time in the audit log.
pub(crate) struct Ratchet {
    clock: Arc<dyn Clock>,
    /// The latest time seen, in microseconds since the Unix epoch.
    latest: AtomicI64,
}

impl Ratchet {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let latest = AtomicI64::new(clock.now().as_microsecond());
        Self { clock, latest }
    }

    /// Keeps the time at `at` or later until the clock has caught up.
    pub(crate) fn at_least(&self, at: Timestamp) {
        let now = self.now();
        if now < at {
            tracing::warn!(
                %now, log = %at,
                "the clock is behind the audit log: until it has caught up, the log's time counts, and what ends before that \
                 has ended. Set the clock if it is wrong. If it is right, and was ahead when the log was written: stop \
                 Keyside, run `keyside clock accept`, and start it again"
            );
            self.latest
                .fetch_max(at.as_microsecond(), Ordering::Relaxed);
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let now = self.clock.now().as_microsecond();
        let latest = self.latest.load(Ordering::Relaxed);
        // Stored at most once a millisecond: all threads of the data plane share this cache line.
        if now > latest + 1_000 {
            self.latest.fetch_max(now, Ordering::Relaxed);
        }
        let now = now.max(latest);
        // In range, because it came from a timestamp.
        Timestamp::from_microsecond(now).unwrap_or(Timestamp::MAX)
    }
}

impl Clock for Ratchet {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }
}

#[cfg(test)]
pub(crate) mod held {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// A clock that tests set.
    pub(crate) struct HeldClock(AtomicI64);

    impl HeldClock {
        pub(crate) fn at(second: i64) -> Self {
            Self(AtomicI64::new(second))
        }

        pub(crate) fn set(&self, second: i64) {
            self.0.store(second, Ordering::SeqCst);
        }
    }

    impl Clock for HeldClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
        }
    }

    #[test]
    fn time_never_decreases_when_the_clock_is_set_back() {
        let held = Arc::new(HeldClock::at(1_000));
        let ratchet = Ratchet::new(held.clone());
        held.set(2_000);
        assert_eq!(ratchet.now().as_second(), 2_000);
        held.set(500);
        assert_eq!(ratchet.now().as_second(), 2_000);
    }
}
