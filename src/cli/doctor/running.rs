//! Asks a running Keyside about its state at the observe listener, which needs no token.

use std::{collections::BTreeSet, iter};

use hyper::StatusCode;
use keyside_config::{ProviderId, Settings};
use tokio::time::timeout;

use super::{PATIENCE, finding::Finding};
use crate::{
    client::{self, Trust},
    observe::REJECTED,
};

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
            _ => match get(&base, "/readyz").await {
                Some((status, body)) => State::of(status, &body),
                None => State::Absent,
            },
        };
        Self { base, state }
    }

    /// Empty if no Keyside runs: `doctor` also works before the first start. A key that its provider
    /// rejects has a finding of its own.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let base = &self.base;
        let lines: &[String] = match &self.state {
            State::Ready(lines) | State::NotReady(lines) => lines,
            State::NotKeyside(_) | State::Absent | State::UnknownPort => &[],
        };
        let (keys, said): (Vec<&str>, Vec<&str>) = lines
            .iter()
            .map(String::as_str)
            .partition(|line| line.contains(REJECTED));
        let said = said.join("; ");
        let finding = match &self.state {
            State::Ready(_) if said.is_empty() => {
                Finding::ok("keyside", format!("ready at {base}"))
            }
            State::Ready(_) => Finding::warn("keyside", format!("ready at {base}, but {said}"))
                .fix("Its log has the causes."),
            State::NotReady(_) => Finding::fail("keyside", format!("not ready at {base}: {said}"))
                .fix("Its log says what it waits for, or why it is draining."),
            State::NotKeyside(status) => Finding::fail(
                "keyside",
                format!("the server at {base} is not Keyside: it responds {status} to /readyz"),
            )
            .fix("Choose another address in observe.listen, or stop the process that uses it."),
            State::Absent | State::UnknownPort => return Vec::new(),
        };
        let keys = keys.into_iter().map(rejected);
        iter::once(finding).chain(keys).collect()
    }

    pub(super) fn answers(&self) -> bool {
        matches!(self.state, State::Ready(_) | State::NotReady(_))
    }

    /// The providers that it has usable credentials for, from its metrics; `None` if they do not
    /// say.
    pub(super) async fn providers(&self) -> Option<BTreeSet<ProviderId>> {
        let (_, body) = get(&self.base, "/metrics").await?;
        providers_in(&body)
    }
}

/// Status and body; `None` if nothing responds in time.
async fn get(base: &str, path: &str) -> Option<(StatusCode, String)> {
    let probed = timeout(PATIENCE, client::probe(base, path, &Trust::Anyone)).await;
    probed.ok()?.ok()
}

/// The finding for a line about a key that its provider rejects.
fn rejected(line: &str) -> Finding {
    let (name, details) = line.split_once(REJECTED).unwrap_or((line, ""));
    let name = name.trim_end_matches(": ");
    Finding::fail(name, format!("{REJECTED}{details}")).fix(
        "Replace it: `keyside key list` shows the id for `keyside key rotate ID`; a declared key is replaced where it is \
         kept. Not if an account has no funds: docs/OPERATING.md#a-key-that-its-provider-rejects",
    )
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
    fn a_key_that_its_provider_rejects_has_a_line_of_its_own() {
        let body = format!(
            "ready\nruns: records cannot be written\ncredential acme/openai/a: b: {REJECTED} (wrong_key) since 2026\n"
        );
        let running = RunningInstance {
            base: "http://127.0.0.1:7382".to_owned(),
            state: State::of(StatusCode::OK, &body),
        };
        let found: Vec<_> = running.findings().iter().map(Finding::to_string).collect();
        let [keyside, key] = &found[..] else {
            panic!("{found:?}");
        };
        assert!(keyside.starts_with("warn keyside: ready at"), "{keyside}");
        assert!(!keyside.contains("credential"), "{keyside}");
        let expected = format!("fail credential acme/openai/a: b: {REJECTED} (wrong_key) since");
        assert!(key.starts_with(&expected), "{key}");
        assert!(key.contains("keyside key rotate"), "{key}");
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
