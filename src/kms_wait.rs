//! Waits for the key service at startup. Meanwhile only the observe listener is open, and reports
//! the reason and the duration.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use keyside_credentials::{Clock, SystemClock, Timestamp};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    observe,
    web::{self, Socket},
};

/// A wait in progress. Dropping it closes its status page.
pub(crate) struct KmsWait {
    page: Arc<StatusPage>,
    /// The observe listener's address, for the log.
    address: SocketAddr,
    _end: watch::Sender<bool>,
}

/// The state that `/readyz` shows.
struct StatusPage {
    since: Timestamp,
    started: Instant,
    last: Mutex<LastAttempt>,
}

#[derive(Default)]
struct LastAttempt {
    reason: Option<String>,
    attempts: u32,
}

impl KmsWait {
    /// Serves the status page on the observe listener's socket, which stays bound afterwards.
    pub(crate) fn start(
        observe: &Socket,
        address: SocketAddr,
        metrics: prometheus::Registry,
    ) -> io::Result<Self> {
        let page = Arc::new(StatusPage {
            since: SystemClock.now(),
            started: Instant::now(),
            last: Mutex::default(),
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

    /// Records and logs a failed attempt, and returns when it is time for the next one.
    pub(crate) async fn pause_after_failure(&self, reason: String) {
        let pause = {
            let mut last = self.page.last.lock();
            if last.reason.as_ref() != Some(&reason) {
                tracing::warn!(
                    observe = %self.address,
                    reason,
                    "waiting for the key service; the proxy and the admin API do not listen yet"
                );
            }
            last.reason = Some(reason);
            last.attempts += 1;
            pause(last.attempts)
        };
        sleep(pause).await;
    }

    /// Logs that the wait is over, if there was one.
    pub(crate) fn finish(self) {
        if self.page.last.lock().attempts > 0 {
            let seconds = self.page.started.elapsed().as_secs();
            tracing::info!(seconds, "the key service answers");
        }
    }
}

impl StatusPage {
    fn text(&self) -> String {
        let last = self.last.lock();
        let reason = last.reason.as_deref().unwrap_or(NO_ANSWER_YET);
        let (since, seconds) = (self.since, self.started.elapsed().as_secs());
        format!("waiting\nstore: {reason}; waiting since {since}, for {seconds} s\n")
    }
}

async fn ready(State(page): State<Arc<StatusPage>>) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, page.text())
}

/// The pause after an attempt: doubles up to a limit, minus a random part of up to half, so that
/// many processes do not retry at the same time.
fn pause(attempts: u32) -> Duration {
    let max = FIRST_PAUSE * 2_u32.saturating_pow(attempts.saturating_sub(1).min(10));
    // Without random bytes the pause only has no random part.
    let chance = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
    max.min(MAX_PAUSE).mul_f64(1.0 - chance / 2.0)
}

const NO_ANSWER_YET: &str = "the key service was asked, and has not answered yet";
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The next attempt comes at most this long after the end of an outage.
const MAX_PAUSE: Duration = Duration::from_secs(3);

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
