//! Asks a running Keyside about its state at the observe listener, which needs no token.

use std::collections::BTreeSet;

use hyper::StatusCode;
use keyside_config::{ProviderId, Settings};
use tokio::time::timeout;

use super::{PATIENCE, finding::Finding};
use crate::client::{self, Trust};

/// What responds at the configured observe address.
pub(super) struct RunningInstance {
    /// `http://127.0.0.1:7382`.
    pub(super) base: String,
    pub(super) state: State,
}

pub(super) enum State {
    /// Ready, with a line per fault.
    Ready(Vec<String>),
    /// Not ready, with the reasons.
    NotReady(Vec<String>),
    /// Another server responds.
    NotKeyside(StatusCode),
    /// Nothing responds.
    Absent,
    /// The settings have port 0, so the port is unknown.
    UnknownPort,
}

impl RunningInstance {
    pub(super) async fn probe(settings: &Settings) -> Self {
        let base = settings.observe.url();
        let state = match settings.observe.listen.port() {
            0 => State::UnknownPort,
            _ => match timeout(PATIENCE, client::probe(&base, "/readyz", &Trust::Anyone)).await {
                Ok(Ok((status, body))) => State::of(status, &String::from_utf8_lossy(&body)),
                Ok(Err(_)) | Err(_) => State::Absent,
            },
        };
        Self { base, state }
    }

    /// `None` if no Keyside runs: `doctor` also works before the first start.
    pub(super) fn finding(&self) -> Option<Finding> {
        let base = &self.base;
        let finding = match &self.state {
            State::Ready(faults) if faults.is_empty() => {
                Finding::ok("keyside", format!("ready at {base}"))
            }
            State::Ready(faults) => {
                let faults = faults.join("; ");
                Finding::warn("keyside", format!("ready at {base}, but {faults}"))
                    .fix("Its log has the causes.")
            }
            State::NotReady(said) => {
                let said = said.join("; ");
                Finding::fail("keyside", format!("not ready at {base}: {said}"))
                    .fix("Its log says what it waits for, or why it is draining.")
            }
            State::NotKeyside(status) => Finding::fail(
                "keyside",
                format!("the server at {base} is not Keyside: it responds {status} to /readyz"),
            )
            .fix("Choose another address in observe.listen, or stop what uses it."),
            State::Absent | State::UnknownPort => return None,
        };
        Some(finding)
    }

    pub(super) fn answers(&self) -> bool {
        matches!(self.state, State::Ready(_) | State::NotReady(_))
    }

    /// The providers that it has usable credentials for, from its metrics; `None` if they do not
    /// say.
    pub(super) async fn providers(&self) -> Option<BTreeSet<ProviderId>> {
        match timeout(
            PATIENCE,
            client::probe(&self.base, "/metrics", &Trust::Anyone),
        )
        .await
        {
            Ok(Ok((_, body))) => providers_in(&String::from_utf8_lossy(&body)),
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

impl State {
    /// The first line of the body is the state, the others are faults.
    fn of(status: StatusCode, body: &str) -> Self {
        let lines = body.lines().map(str::to_owned);
        match status {
            StatusCode::OK if body.starts_with("ready\n") => Self::Ready(lines.skip(1).collect()),
            StatusCode::SERVICE_UNAVAILABLE => Self::NotReady(lines.collect()),
            status => Self::NotKeyside(status),
        }
    }
}

/// `None` while its store is not open: then it counts no credentials.
fn providers_in(metrics: &str) -> Option<BTreeSet<ProviderId>> {
    let mut counts = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("integration_credentials_total{"))
        .peekable();
    counts.peek()?;
    let usable = |count: &str| {
        let (labels, count) = count.split_once("} ")?;
        let value = |name: &str| {
            let (_, after) = labels.split_once(&format!("{name}=\""))?;
            after.split_once('"').map(|(value, _)| value.to_owned())
        };
        let is_usable = matches!(value("status").as_deref(), Some("active" | "expiring"));
        (is_usable && count != "0")
            .then(|| value("provider")?.parse::<ProviderId>().ok())
            .flatten()
    };
    Some(counts.filter_map(usable).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_keyside_is_told_from_other_servers() {
        let of = |status: u16, body| State::of(StatusCode::from_u16(status).unwrap(), body);
        let ready = of(200, "ready\nruns: records cannot be written\n");
        assert!(matches!(ready, State::Ready(faults) if faults.len() == 1));
        let waiting = of(503, "waiting\ncredential a\n");
        assert!(matches!(waiting, State::NotReady(said) if said[0] == "waiting"));
        assert!(matches!(of(404, "ready\n"), State::NotKeyside(_)));
        assert!(matches!(of(200, "<html>"), State::NotKeyside(_)));
    }

    #[test]
    fn providers_are_those_with_a_usable_key() {
        let metrics = "\
# TYPE integration_credentials_total gauge
integration_credentials_total{provider=\"anthropic\",status=\"active\"} 0
integration_credentials_total{provider=\"groq\",status=\"revoked\"} 1
integration_credentials_total{provider=\"mistral\",status=\"expiring\"} 1
integration_credentials_total{provider=\"openai\",status=\"active\"} 2
";
        let found = providers_in(metrics).expect("counts");
        let found: Vec<_> = found.iter().map(ProviderId::as_str).collect();
        assert_eq!(found, ["mistral", "openai"]);
    }

    #[test]
    fn metrics_without_counts_do_not_mean_that_there_are_no_credentials() {
        assert_eq!(
            providers_in("keyside_build_info{version=\"0.1.0\"} 1\n"),
            None
        );
        let none = "integration_credentials_total{provider=\"groq\",status=\"active\"} 0\n";
        assert_eq!(providers_in(none), Some(BTreeSet::new()));
    }
}
