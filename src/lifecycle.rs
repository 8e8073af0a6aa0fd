//! From ready to gone: what a signal starts, and in which order.
//!
//! SIGTERM or SIGINT: not ready, but serving on; each client is asked to come
//! back elsewhere; once nothing is in flight, or the deadline has passed, pingora
//! stops. A second signal stops at once.

use async_trait::async_trait;
use keyside_proxy::{Drain, Phase};
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use std::sync::Mutex;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

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
        tracing::info!(signal, "draining");
        self.drain.advance(Phase::Draining);
        tokio::select! {
            () = self.drain.idle() => {}
            () = sleep(self.deadline) => self.cut().await,
            signal = signals.next() => tracing::warn!(signal, "stopping at once"),
        }
        self.drain.advance(Phase::Closing);
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

    /// The deadline has passed: who comes now is told so, the rest is cut when
    /// the runtimes stop.
    async fn cut(&self) {
        tracing::warn!(
            in_flight = self.drain.in_flight(),
            "cut by proxy.deadlines.drain"
        );
        self.drain.advance(Phase::Closing);
        sleep(LAST_WORD).await;
    }
}

/// The signals that ask us to leave.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}

/// How long requests are still told that we are gone, once we are.
const LAST_WORD: Duration = Duration::from_millis(200);
