//! `keyside drain`: takes a running Keyside out of service before it is stopped, for the preStop
//! hook of a container.
//!
//! It only makes the process report not ready and waits; the process keeps serving until a signal
//! stops it. In a pod the kubelet runs the preStop hook of a sidecar at once, while the
//! containers that use it may still send requests, and stops the sidecar after them.

mod process;

use std::time::Duration;

use clap::Args;
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    Console, Failure,
    duration::duration,
    observe::{Observe, ObserveArguments, unreachable},
};
use crate::{client::ClientError, observe::IN_FLIGHT};

#[derive(Args)]
pub(crate) struct Drain {
    /// The process to drain [default: the `keyside serve` or `keyside proxy` of this user, if there
    /// is one only]
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
    #[command(flatten)]
    observe: ObserveArguments,
    /// Wait at least this long, so that load balancers notice that it is not ready
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration)]
    at_least: Duration,
    /// Give up if requests are in flight after this long [default: proxy.deadlines.drain of the
    /// settings]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
}

/// What `/readyz` says.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Not draining, for whatever reason it may not be ready.
    Serving,
    Draining {
        in_flight: usize,
    },
}

pub(crate) async fn run(drain: Drain, console: &Console) -> Result<(), Failure> {
    let settings = console.settings()?;
    let observe = drain.observe.listener(console)?;
    let timeout = drain.timeout.unwrap_or(settings.proxy.deadlines.drain);
    // Asked first, because a process that cannot be observed would get the signal for nothing.
    State::of(&observe).await.map_err(unreachable)?;
    let pid = match drain.pid {
        Some(pid) => process::expect_keyside(pid)?,
        None => process::find()?,
    };
    signal(pid)?;
    wait(&observe, drain.at_least, timeout.max(drain.at_least)).await?;
    console.print(&json!({ "status": "drained" }), || "drained\n".to_owned())
}

fn signal(pid: i32) -> Result<(), Failure> {
    kill(Pid::from_raw(pid), Signal::SIGUSR1).map_err(|errno| {
        let next = match errno {
            Errno::EPERM => "Run this as the user that runs Keyside.",
            _ => "Give the process id of the running Keyside with --pid.",
        };
        Failure::failed(format!("process {pid} cannot be signalled: {errno}")).next(next)
    })
}

/// Returns when nothing is in flight and `at_least` has passed.
async fn wait(observe: &Observe, at_least: Duration, timeout: Duration) -> Result<(), Failure> {
    let started = Instant::now();
    let acknowledge = timeout.clamp(ACKNOWLEDGE_AT_LEAST, ACKNOWLEDGE_AT_MOST);
    let mut acknowledged = false;
    loop {
        let elapsed = started.elapsed();
        match State::of(observe).await {
            Ok(State::Draining { in_flight: 0 }) if elapsed >= at_least => return Ok(()),
            Ok(State::Draining { in_flight }) if elapsed >= timeout => {
                return Err(still_in_flight(in_flight, timeout));
            }
            Ok(State::Draining { .. }) => acknowledged = true,
            Ok(State::Serving) if elapsed >= acknowledge => return Err(not_draining(acknowledge)),
            Ok(State::Serving) => {}
            // It was stopped in the meantime, and then it drains by itself.
            Err(ClientError::Unreachable { .. }) if acknowledged => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        sleep(POLL_INTERVAL).await;
    }
}

impl State {
    async fn of(observe: &Observe) -> Result<Self, ClientError> {
        let (_, body) = observe.get("/readyz").await?;
        Ok(Self::parse(&body))
    }

    fn parse(readiness: &str) -> Self {
        let mut lines = readiness.lines();
        if lines.next() != Some("draining") {
            return Self::Serving;
        }
        // Without the number nothing says that it is safe to stop.
        let in_flight = lines.find_map(|line| line.strip_prefix(IN_FLIGHT)?.parse::<usize>().ok());
        in_flight.map_or(Self::Serving, |in_flight| Self::Draining { in_flight })
    }
}

fn still_in_flight(in_flight: usize, timeout: Duration) -> Failure {
    Failure::failed(format!(
        "expected no request in flight after {timeout:?}, found {in_flight}"
    ))
    .next(
        "It is not ready and keeps serving. SIGTERM gives the requests proxy.deadlines.drain more.",
    )
}

fn not_draining(acknowledge: Duration) -> Failure {
    Failure::failed(format!(
        "expected Keyside to report that it drains within {acknowledge:?}, found that it does not"
    ))
    .next("It is still starting, or the process and the observe listener are not the same Keyside's: check --pid and --url.")
}

/// How often the state is read.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How long the process may take to handle the signal: as long as --timeout, between these.
const ACKNOWLEDGE_AT_LEAST: Duration = Duration::from_secs(1);
const ACKNOWLEDGE_AT_MOST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_read_from_the_first_line_and_the_number_from_its_own() {
        let draining = |in_flight| State::Draining { in_flight };
        for (text, state) in [
            ("ready\n", State::Serving),
            ("waiting\nstore: draining\n", State::Serving),
            ("", State::Serving),
            ("draining\nrequests in flight: 0\n", draining(0)),
            (
                "draining\nrequests in flight: 12\nruns: requests in flight: 7\n",
                draining(12),
            ),
            ("draining\n", State::Serving),
        ] {
            assert_eq!(State::parse(text), state, "{text:?}");
        }
    }
}
