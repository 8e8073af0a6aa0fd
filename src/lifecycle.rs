//! From ready to gone: what a signal starts, and in which order.
//!
//! SIGTERM, SIGINT, SIGHUP or SIGQUIT: not ready, but serving on; each client is
//! asked to come back elsewhere; once nothing is in flight, or the deadline has
//! passed, new requests are refused and pingora stops. A second signal stops at
//! once, whichever it is.

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
    /// Called once, when all services have been started.
    pub(crate) ready: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

#[async_trait]
impl ShutdownSignalWatch for Lifecycle {
    async fn recv(&self) -> ShutdownSignal {
        let mut signals = match Signals::new() {
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
            () = self.leave() => {}
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
    async fn leave(&self) {
        if timeout(self.deadline, self.drain.idle()).await.is_err() {
            let in_flight = self.drain.in_flight();
            tracing::warn!(
                in_flight,
                "proxy.deadlines.drain has passed; cutting what is left"
            );
        }
        self.drain.advance(Phase::Closing);
        sleep(FAREWELL).await;
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
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}

/// How long a request is still refused in so many words, and HTTP/2 connections
/// have to send their GOAWAY, before the sockets close.
const FAREWELL: Duration = Duration::from_millis(50);
