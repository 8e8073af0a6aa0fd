//! When a delivery is attempted again: a bounded number of times, with exponentially longer pauses
//! that differ at random, and not before a receiver asks for it.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};

/// The result of one attempt.
pub(super) enum Attempt {
    /// The receiver has it.
    Delivered,
    /// It failed, and may succeed later.
    Failed {
        reason: String,
        /// How long the receiver asks to wait.
        retry_after: Option<Duration>,
    },
    /// It failed, and would fail again.
    Refused(String),
}

/// A delivery that was given up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GivenUp {
    /// Why the last attempt failed.
    pub(super) reason: String,
    /// Number of attempts.
    pub(super) attempts: u32,
}

/// Attempts until one succeeds, and returns how many it took. Pauses end when the process stops,
/// and with them the attempts. `random` returns numbers from 0 to 1; `will_retry` gets the reason
/// of a failure and the pause.
pub(super) async fn until_delivered<F, A>(
    mut attempt: F,
    random: impl Fn() -> f64,
    will_retry: impl Fn(&str, Duration),
    mut stopping: watch::Receiver<bool>,
) -> Result<u32, GivenUp>
where
    F: FnMut() -> A,
    A: Future<Output = Attempt>,
{
    let mut attempts = 0;
    loop {
        attempts += 1;
        let (reason, retry_after) = match attempt().await {
            Attempt::Delivered => return Ok(attempts),
            Attempt::Refused(reason) => return Err(GivenUp { reason, attempts }),
            Attempt::Failed {
                reason,
                retry_after,
            } => (reason, retry_after),
        };
        if attempts == MAX_ATTEMPTS {
            return Err(GivenUp { reason, attempts });
        }
        let pause = pause(attempts, retry_after, random());
        will_retry(&reason, pause);
        tokio::select! {
            () = sleep(pause) => {}
            () = stopped(&mut stopping) => return Err(GivenUp { reason, attempts }),
        }
    }
}

/// Returns once the process is stopping.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, because the process is stopping.
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
}

/// The pause after an attempt, counted from 1. `random` is from 0 to 1.
fn pause(attempts: u32, retry_after: Option<Duration>, random: f64) -> Duration {
    let exponential = FIRST_PAUSE.saturating_mul(FACTOR.saturating_pow(attempts - 1));
    let asked = retry_after.unwrap_or_default().min(MAX_PAUSE);
    // A receiver that all senders wait for must not get all their requests at once.
    let random = 0.2 * random;
    let spread = exponential.min(MAX_PAUSE).mul_f64(0.9 + random);
    spread.max(asked.mul_f64(1.0 + random))
}

/// About an hour and a half in all.
const MAX_ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const FACTOR: u32 = 4;
/// Also of what a receiver asks for.
const MAX_PAUSE: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use tokio::time::Instant;

    use super::*;

    fn failed(retry_after: Option<u64>) -> Attempt {
        Attempt::Failed {
            reason: "503".to_owned(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    /// Attempts that have these results, and then success. Returns the outcome, and the seconds at
    /// which each attempt began.
    async fn attempt_all(results: Vec<Attempt>) -> (Result<u32, GivenUp>, Vec<u64>) {
        let (_running, stopping) = watch::channel(false);
        let results = RefCell::new(results.into_iter());
        let (started, times) = (Instant::now(), RefCell::new(Vec::new()));
        let attempt = || {
            times.borrow_mut().push(started.elapsed().as_secs());
            let result = results.borrow_mut().next().unwrap_or(Attempt::Delivered);
            async move { result }
        };
        let outcome = until_delivered(attempt, || 0.5, |_, _| {}, stopping).await;
        (outcome, times.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_the_attempts_are_used_up() {
        let (outcome, times) = attempt_all((0..20).map(|_| failed(None)).collect()).await;
        let given_up = GivenUp {
            reason: "503".to_owned(),
            attempts: 8,
        };
        assert_eq!(outcome, Err(given_up));
        assert_eq!(times, [0, 2, 10, 42, 170, 682, 2_730, 6_330]);
        let (outcome, times) = attempt_all(vec![failed(None), failed(None)]).await;
        assert_eq!(outcome, Ok(3));
        assert_eq!(times, [0, 2, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_decides_how_long_to_wait_up_to_an_hour() {
        let asked = vec![failed(Some(60)), failed(Some(1)), failed(Some(1_000_000))];
        let (outcome, times) = attempt_all(asked).await;
        assert_eq!(outcome, Ok(4));
        // A tenth is added at random here, and less than the usual pause counts as the usual one.
        assert_eq!(times, [0, 66, 74, 4_034]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_fail_again_is_not_attempted_again() {
        let gone = vec![Attempt::Refused("410".to_owned())];
        let (outcome, times) = attempt_all(gone).await;
        assert_eq!(outcome.unwrap_err().attempts, 1);
        assert_eq!(times, [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_a_pause() {
        let (running, stopping) = watch::channel(false);
        let attempts = Cell::new(0);
        let attempt = || {
            attempts.set(attempts.get() + 1);
            async { failed(None) }
        };
        // Called during the first attempt's failure, before its pause.
        let will_retry = |_: &str, _: Duration| {
            running.send_replace(true);
        };
        let outcome = until_delivered(attempt, || 0.5, will_retry, stopping).await;
        assert_eq!(outcome.unwrap_err().attempts, 1);
        assert_eq!(attempts.get(), 1);
    }

    #[test]
    fn pauses_differ_at_random() {
        let pauses = [0.0, 0.5, 1.0].map(|random| pause(3, None, random).as_millis());
        assert_eq!(pauses, [28_800, 32_000, 35_200]);
    }
}
