//! Counts requests in flight and announces the phases of a shutdown.
//!
//! serving -> draining (still answers, and asks each client to reconnect elsewhere) -> closing
//! (refuses). A request counts from its head to the last byte of its response; tunnels count too.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// The phase of the shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Ready for traffic.
    Serving,
    /// Not ready, but still answering.
    Draining,
    /// New requests are refused; what is in flight is about to be cut.
    Closing,
}

/// The shutdown state. The listeners, the readiness probe and the signal handler share it.
#[derive(Clone, Default)]
pub struct Drain(Arc<Shared>);

#[derive(Default)]
struct Shared {
    phase: AtomicU8,
    in_flight: AtomicUsize,
    /// How many connections have not reacted to a shutdown.
    unaware: AtomicUsize,
    /// Notified at each phase change; every connection waits for it.
    advanced: Notify,
    emptied: Notify,
    /// Notified when the last connection has reacted.
    announced: Notify,
}

/// Held by a connection until it has reacted to a shutdown, or has ended.
pub(crate) struct Unaware<'a>(&'a Drain);

impl Drain {
    /// The current phase.
    pub fn phase(&self) -> Phase {
        match self.0.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Closing,
        }
    }

    /// Moves on to `phase`; never goes back.
    pub fn advance(&self, phase: Phase) {
        let before = self.0.phase.fetch_max(phase as u8, Ordering::AcqRel);
        if before < phase as u8 {
            self.0.advanced.notify_waiters();
        }
    }

    /// How many requests are in flight.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Acquire)
    }

    /// Returns once nothing is in flight.
    pub async fn idle(&self) {
        until(&self.0.emptied, || self.in_flight() == 0).await;
    }

    /// Returns once every connection has reacted to the shutdown. The task of each has to run for
    /// that.
    pub async fn announced(&self) {
        let all_know = || self.0.unaware.load(Ordering::Acquire) == 0;
        until(&self.0.announced, all_know).await;
    }

    /// Counts a connection for [`Drain::announced`].
    pub(crate) fn connected(&self) -> Unaware<'_> {
        self.0.unaware.fetch_add(1, Ordering::AcqRel);
        Unaware(self)
    }

    /// Whether a shutdown has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.phase() > Phase::Serving
    }

    /// Returns once a shutdown has begun, and wakes its task only then.
    pub(crate) async fn begun(&self) {
        until(&self.0.advanced, || self.has_begun()).await;
    }

    /// Counts one more request in flight. The caller must call [`Drain::leave`] for it later.
    pub(crate) fn enter(&self) {
        self.0.in_flight.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends `requests` of the counted requests, after the last byte of their responses.
    pub(crate) fn leave(&self, requests: usize) {
        let before = self.0.in_flight.fetch_sub(requests, Ordering::AcqRel);
        if requests > 0 && before == requests {
            self.0.emptied.notify_waiters();
        }
    }
}

impl Drop for Unaware<'_> {
    fn drop(&mut self) {
        let shared = &self.0.0;
        if shared.unaware.fetch_sub(1, Ordering::AcqRel) == 1 {
            shared.announced.notify_waiters();
        }
    }
}

async fn until(changed: &Notify, done: impl Fn() -> bool) {
    loop {
        let changed = changed.notified();
        tokio::pin!(changed);
        // Registered before the check, so that a change in between is not lost.
        changed.as_mut().enable();
        if done() {
            return;
        }
        changed.await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;
    use crate::wakers::tests::WakeCounter;

    #[test]
    fn a_phase_never_goes_back() {
        let drain = Drain::default();
        drain.advance(Phase::Closing);
        drain.advance(Phase::Draining);
        assert_eq!(drain.phase(), Phase::Closing);
    }

    #[tokio::test]
    async fn a_connection_is_woken_by_a_shutdown_and_by_nothing_before() {
        let (drain, task) = (Drain::default(), Arc::<WakeCounter>::default());
        let waker = Waker::from(task.clone());
        let mut begun = pin!(drain.begun());
        let mut heard = || begun.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(heard().is_pending());
        drain.enter();
        drain.leave(1);
        drain.advance(Phase::Serving);
        assert_eq!(task.times(), 0);
        drain.advance(Phase::Closing);
        assert_eq!(task.times(), 1);
        assert!(heard().is_ready());
    }

    #[tokio::test]
    async fn a_shutdown_is_announced_when_the_last_connection_has_reacted() {
        let drain = Drain::default();
        let (first, second) = (drain.connected(), drain.connected());
        let mut announced = pin!(drain.announced());
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = || announced.as_mut().poll(&mut context);
        assert!(poll().is_pending());
        drop(first);
        assert!(poll().is_pending());
        drop(second);
        assert!(poll().is_ready());
    }

    #[tokio::test]
    async fn idle_returns_when_the_last_request_ends() {
        let drain = Drain::default();
        drain.enter();
        drain.enter();
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.idle().await }
        });
        drain.leave(1);
        assert_eq!(drain.in_flight(), 1);
        drain.leave(1);
        waiting.await.unwrap();
    }
}
