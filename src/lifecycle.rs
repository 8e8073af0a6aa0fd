//! Handles shutdown signals.
//!
//! After SIGTERM, SIGINT, SIGHUP or SIGQUIT the process reports not ready but keeps serving, and
//! asks each client to reconnect elsewhere. When nothing is in flight, or the deadline has passed,
//! it refuses new requests and stops pingora. A second signal, whichever it is, stops at once. A
//! SIGHUP that was ignored at the start, as nohup(1) arranges, stays ignored.
//!
//! SIGUSR1, which `keyside drain` sends, does the first part only: the process reports not ready
//! and keeps serving until one of the other signals. It is not counted as the first of two.

use std::{fs, future, io, task::Poll, time::Duration};

use async_trait::async_trait;
use keyside_proxy::{Drain, Phase};
use parking_lot::Mutex;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    time::{sleep, timeout},
};

/// Tells pingora when to stop.
pub(crate) struct Lifecycle {
    pub(crate) drain: Drain,
    pub(crate) deadline: Duration,
    /// Signal handlers that were already installed, so that no earlier signal is lost.
    pub(crate) signals: Mutex<Option<Signals>>,
    /// Called once, when all services have started.
    pub(crate) ready: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

#[async_trait]
impl ShutdownSignalWatch for Lifecycle {
    async fn recv(&self) -> ShutdownSignal {
        let received = self.signals.lock().take();
        let mut signals = match received.map_or_else(Signals::new, Ok) {
            Ok(signals) => signals,
            Err(error) => {
                tracing::error!(%error, "signals cannot be received");
                return ShutdownSignal::FastShutdown;
            }
        };
        self.announce();
        let signal = self.serve(&mut signals).await;
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
        let ready = self.ready.lock().take();
        if let Some(ready) = ready {
            ready();
        }
    }

    /// Serves until a signal to stop, and returns its name.
    async fn serve(&self, signals: &mut Signals) -> &'static str {
        let Signals { stop, drain } = signals;
        loop {
            tokio::select! {
                signal = stop.next() => return signal,
                _ = drain.recv() => self.start_draining(),
            }
        }
    }

    fn start_draining(&self) {
        self.drain.advance(Phase::Draining);
        tracing::info!(
            signal = "SIGUSR1",
            in_flight = self.drain.in_flight(),
            "not ready from now on; serving until a signal to stop"
        );
    }

    /// Waits until no request is in flight, then refuses new ones for a moment.
    async fn drain_requests(&self) {
        if timeout(self.deadline, self.drain.idle()).await.is_err() {
            let in_flight = self.drain.in_flight();
            tracing::warn!(
                in_flight,
                "proxy.deadlines.drain has passed; cutting off the requests in flight"
            );
        }
        self.drain.advance(Phase::Closing);
        // On a busy machine the tasks of idle connections may not have run yet.
        let announced = timeout(ANNOUNCING_LIMIT, self.drain.announced()).await;
        if announced.is_err() {
            tracing::warn!("some connections do not react to the shutdown; closing them");
        }
        sleep(CLOSING_PERIOD).await;
    }

    fn stop_at_once(&self, signal: &str) {
        let in_flight = self.drain.in_flight();
        tracing::warn!(
            signal,
            in_flight,
            "stopping at once; cutting off the requests in flight"
        );
        // Requests cut off from here on are recorded as cut by the drain.
        self.drain.advance(Phase::Closing);
    }
}

pub(crate) struct Signals {
    stop: StopSignals,
    /// SIGUSR1.
    drain: Signal,
}

/// The signals that start a shutdown, with their names.
struct StopSignals(Vec<(&'static str, Signal)>);

impl Signals {
    /// Installs the handlers, for a runtime that the caller is not on.
    pub(crate) fn on(runtime: &Runtime) -> io::Result<Self> {
        let _entered = runtime.enter();
        Self::new()
    }

    /// Installs the handlers. From then on none of these signals ends the process by itself.
    pub(crate) fn new() -> io::Result<Self> {
        let mut stop = vec![
            ("SIGTERM", signal(SignalKind::terminate())?),
            ("SIGINT", signal(SignalKind::interrupt())?),
            ("SIGQUIT", signal(SignalKind::quit())?),
        ];
        // Under nohup SIGHUP is ignored, and a handler would undo that.
        if !is_ignored(SignalKind::hangup()) {
            stop.push(("SIGHUP", signal(SignalKind::hangup())?));
        }
        Ok(Self {
            stop: StopSignals(stop),
            drain: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for a signal that starts a shutdown, and returns its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        self.stop.next().await
    }

    /// The name of such a signal, if one was received already.
    pub(crate) async fn received(&mut self) -> Option<&'static str> {
        tokio::select! {
            biased;
            signal = self.next() => Some(signal),
            () = future::ready(()) => None,
        }
    }
}

impl StopSignals {
    async fn next(&mut self) -> &'static str {
        future::poll_fn(|context| {
            let mut signals = self.0.iter_mut();
            let received = signals.find_map(|(name, signal)| {
                let is_received = signal.poll_recv(context).is_ready();
                is_received.then_some(*name)
            });
            received.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

fn is_ignored(signal: SignalKind) -> bool {
    fs::read_to_string("/proc/self/status")
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

/// How long a shutdown waits for connections to react to it. All do within milliseconds, unless the
/// machine is busy.
const ANNOUNCING_LIMIT: Duration = Duration::from_secs(2);

/// How long new requests get a refusal, and HTTP/2 connections may send their GOAWAY, before the
/// sockets close.
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
