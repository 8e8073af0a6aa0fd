//! From ready to gone: what a signal starts, and in which order.
//!
//! SIGTERM, SIGINT, SIGHUP or SIGQUIT: not ready, but serving on; each client is
//! asked to come back elsewhere; once nothing is in flight, or the deadline has
//! passed, new requests are refused and pingora stops. A second signal stops at
//! once, whichever it is. A SIGHUP that was ignored at the start, as nohup(1) has it,
//! stays ignored.

use async_trait::async_trait;
use keyside_proxy::{Drain, Phase};
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use std::sync::Mutex;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

/// Tells pingora when to stop.
pub(crate) struct Lifecycle {
    pub(crate) drain: Drain,
    pub(crate) deadline: Duration,
    /// Those that were received before already, if any were: one that came since is not lost.
    pub(crate) signals: Mutex<Option<Signals>>,
    /// Called once, when all services have been started.
    pub(crate) ready: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

#[async_trait]
impl ShutdownSignalWatch for Lifecycle {
    async fn recv(&self) -> ShutdownSignal {
        let received = self.signals.lock().ok().and_then(|mut held| held.take());
        let mut signals = match received.map_or_else(Signals::new, Ok) {
            Ok(signals) => signals,
            Err(error) => {
                tracing::error!(%error, "signals cannot be received");
                return ShutdownSignal::FastShutdown;
            }
        };
        self.announce();
        let signal = signals.next().await;
        self.drain.advance(Phase::Draining);
        tracing::info!(
            signal,
            in_flight = self.drain.in_flight(),
            deadline = ?self.deadline,
            "draining; a second signal stops at once"
        );
        tokio::select! {
            () = self.drain_requests() => {}
            signal = signals.next() => self.stop_at_once(signal),
        }
        ShutdownSignal::GracefulTerminate
    }
}

impl Lifecycle {
    fn announce(&self) {
        let ready = self.ready.lock().ok().and_then(|mut ready| ready.take());
        if let Some(ready) = ready {
            ready();
        }
    }

    /// Waits for what is in flight, then tells whoever comes too late.
    async fn drain_requests(&self) {
        if timeout(self.deadline, self.drain.idle()).await.is_err() {
            let in_flight = self.drain.in_flight();
            tracing::warn!(
                in_flight,
                "proxy.deadlines.drain has passed; cutting what is left"
            );
        }
        self.drain.advance(Phase::Closing);
        sleep(CLOSING_PERIOD).await;
    }

    fn stop_at_once(&self, signal: &str) {
        let in_flight = self.drain.in_flight();
        tracing::warn!(
            signal,
            in_flight,
            "stopping at once; cutting what is in flight"
        );
        // What is cut from here on is recorded as such.
        self.drain.advance(Phase::Closing);
    }
}

/// The signals that ask us to leave.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// `None` if it is ignored: handling a signal would end that.
    hangup: Option<Signal>,
    quit: Signal,
}

impl Signals {
    /// From here on none of them ends the process by itself.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: match is_ignored(SignalKind::hangup()) {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
            quit: signal(SignalKind::quit())?,
        })
    }

    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = received(&mut self.hangup) => "SIGHUP",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}

/// Waits for a signal; for ever if it is ignored.
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether this process ignores a signal.
fn is_ignored(signal: SignalKind) -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| ignores(&status, signal.as_raw_value()))
}

/// `SigIgn` is a mask in hexadecimal, with signal 1 as its lowest bit (proc_pid_status(5)).
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// How long a request is still refused in so many words, and HTTP/2 connections
/// have to send their GOAWAY, before the sockets close.
const CLOSING_PERIOD: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::ignores;

    #[test]
    fn a_signal_is_ignored_if_its_bit_is_set() {
        let status =
            "SigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert!(ignores(status, 1) && ignores(status, 13));
        assert!(!ignores(status, 2) && !ignores(status, 15));
        assert!(!ignores("", 1));
    }
}
