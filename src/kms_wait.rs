//! A start that waits for the key service: until it answers, the observe listener alone is there, and says why and for how long.

use std::{
    fmt::Write,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use keyside_credentials::{Clock, SystemClock, Timestamp};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{observe, web};

/// One that is under way; its page ends with it.
pub(crate) struct KmsWait {
    page: Arc<StatusPage>,
    /// Where the page is.
    address: SocketAddr,
    _end: watch::Sender<bool>,
}

/// What readiness tells.
struct StatusPage {
    since: Timestamp,
    begun: Instant,
    found: Mutex<LastAttempt>,
}

/// What the last attempt found.
#[derive(Default)]
struct LastAttempt {
    reason: Option<String>,
    attempts: u32,
}

impl KmsWait {
    /// Serves the page on the observe listener's socket, which stays bound for what comes after.
    ///
    /// # Errors
    /// The system's, where it gives no second handle of the socket.
    pub(crate) fn start(
        observe: &TcpListener,
        address: SocketAddr,
        metrics: prometheus::Registry,
    ) -> std::io::Result<Self> {
        let page = Arc::new(StatusPage {
            since: SystemClock.now(),
            begun: Instant::now(),
            found: Mutex::default(),
        });
        let (end, ended) = watch::channel(false);
        let router = Router::new()
            .route("/readyz", get(ready))
            .with_state(page.clone())
            .merge(observe::without_readiness(metrics));
        tokio::spawn(web::serve_until(router, observe.try_clone()?, ended));
        Ok(Self {
            page,
            address,
            _end: end,
        })
    }

    /// Says what an attempt has found, and returns when it is time for the next.
    pub(crate) async fn pause_after_failure(&self, reason: String) {
        let pause = {
            let mut found = self.page.found();
            if found.reason.as_ref() != Some(&reason) {
                tracing::warn!(
                    observe = %self.address,
                    reason,
                    "waiting for the key service: not ready, and neither proxy nor admin listen yet"
                );
            }
            found.reason = Some(reason);
            found.attempts += 1;
            pause(found.attempts)
        };
        sleep(pause).await;
    }

    /// Says that it is over, if there was anything to wait for.
    pub(crate) fn finish(self) {
        if self.page.found().attempts > 0 {
            let seconds = self.page.begun.elapsed().as_secs();
            tracing::info!(seconds, "the key service answers");
        }
    }
}

impl StatusPage {
    /// What a panic leaves is what was found before it.
    fn found(&self) -> MutexGuard<'_, LastAttempt> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        let mut text = "waiting\n".to_owned();
        let found = self.found();
        let reason = found.reason.as_deref().unwrap_or(NO_ANSWER_YET);
        let (since, seconds) = (self.since, self.begun.elapsed().as_secs());
        let _ = writeln!(
            text,
            "store: {reason}; waiting since {since}, for {seconds} s"
        );
        text
    }
}

async fn ready(State(page): State<Arc<StatusPage>>) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, page.text())
}

/// Doubles up to a limit, and takes up to half of it off by chance, so that many that wait do not come at once.
fn pause(attempts: u32) -> Duration {
    let longest = FIRST_PAUSE * 2_u32.saturating_pow(attempts.saturating_sub(1).min(10));
    let mut bytes = [0; 4];
    // Without randomness nothing is spread; there is nothing else to lose.
    let _ = getrandom::fill(&mut bytes);
    let chance = f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX);
    longest.min(LONGEST_PAUSE).mul_f64(1.0 - chance / 2.0)
}

const NO_ANSWER_YET: &str = "the key service was asked, and has not answered yet";
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Bounds how long after the end of an outage the next attempt comes.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_never_vanish() {
        for (attempts, longest) in [
            (1, 250),
            (2, 500),
            (4, 2_000),
            (5, 3_000),
            (u32::MAX, 3_000),
        ] {
            let longest = Duration::from_millis(longest);
            let pause = pause(attempts);
            assert!(
                pause <= longest && pause >= longest / 2,
                "{attempts}: {pause:?}"
            );
        }
    }
}
