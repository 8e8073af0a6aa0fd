//! The filters that the commands on runs share.

use clap::{Args, builder::PossibleValuesParser};
use jiff::{civil::DateTime, tz::TimeZone};
use keyside_config::ProviderId;
use keyside_credentials::{
    Clock, CredentialId, Environment, Label, SystemClock, Timestamp, WorkspaceId, runs::RunKind,
};

use crate::cli::{
    choice::{choice, environment},
    duration::duration,
    items::filter,
};

/// Selects runs, which must match all of them.
#[derive(Args)]
pub(crate) struct Filters {
    /// Only of this workspace
    #[arg(long, short)]
    pub(super) workspace: Option<WorkspaceId>,
    /// Only of this provider
    #[arg(long, short)]
    pub(super) provider: Option<ProviderId>,
    /// Only with this key, by its id
    #[arg(long, value_name = "ID")]
    key: Option<CredentialId>,
    /// Only with the key that has this label
    #[arg(long, short)]
    label: Option<Label>,
    /// Only with keys of this environment
    #[arg(long, short, value_parser = environment())]
    environment: Option<Environment>,
    /// Only of this kind: requests of clients are traffic, the others are Keyside's own
    #[arg(long, short, value_parser = choice::<RunKind>(RunKind::ALL.map(RunKind::as_str)))]
    kind: Option<RunKind>,
    /// Only with this id, as the runner sent it in X-Keyside-Run
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Only with this tag, as the runner sent it in X-Keyside-Tag
    #[arg(long)]
    tag: Option<String>,
    /// Only with this status, such as 429: the provider's, or Keyside's for refusals; 0 without a
    /// response
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(0..=599))]
    status: Option<u16>,
    /// Only with this outcome: of forwarded requests, `refused`, or the code of a refusal
    #[arg(long, short, value_parser = PossibleValuesParser::new(keyside_proxy::outcomes()))]
    outcome: Option<String>,
    /// Only since this time: as `keyside run list` shows times, as 2027-01-31T00:00:00Z, or as an
    /// age such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only before this time, in the same formats
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

impl Filters {
    pub(super) fn query(&self) -> String {
        [
            filter("workspaceId", &self.workspace),
            filter("provider", &self.provider),
            filter("credentialId", &self.key),
            filter("label", &self.label),
            filter("environment", &self.environment),
            filter("kind", &self.kind),
            filter("runId", &self.run_id),
            filter("tag", &self.tag),
            filter("status", &self.status),
            filter("outcome", &self.outcome),
            filter("since", &self.since),
            filter("until", &self.until),
        ]
        .concat()
    }
}

/// Parses a time, or an age such as `2h`. A time without a zone is in the system's, as `run list`
/// shows them.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let shown = text.parse::<DateTime>();
    if let Some(at) = shown
        .ok()
        .and_then(|at| at.to_zoned(TimeZone::system()).ok())
    {
        return Ok(at.timestamp());
    }
    let expected = "expected a time such as \"2027-01-31 00:00:00\" or 2027-01-31T00:00:00Z, or a number and s, m, h or d, such as 2h";
    let ago = duration(text).map_err(|_| expected.to_owned())?;
    let at = SystemClock.now().checked_sub(ago);
    at.map_err(|_| expected.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::local;

    #[test]
    fn a_moment_is_a_time_or_an_age() {
        let at: Timestamp = "2027-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(moment("2027-01-31T00:00:00Z"), Ok(at));
        let shown = local(at);
        assert_eq!(moment(&shown), Ok(at), "{shown}");
        let now = SystemClock.now();
        let hour = moment("1h").unwrap();
        assert!(hour < now && moment("2h").unwrap() < hour);
        for text in ["", "yesterday", "2h ago", "-1h", "999999999999999d"] {
            assert!(moment(text).is_err(), "{text:?}");
        }
    }
}
