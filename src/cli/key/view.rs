//! Formats a key for people.

use std::ops::Deref;

use keyside_admin::wire::{CredentialView, Duplicate, TrafficView, VersionView};
use keyside_credentials::{
    Clock, Status, SystemClock, Timestamp, TrafficState, Verification, VersionState,
};
use serde::Deserialize;
use serde_json::Value;

use super::{Console, Failure};
use crate::{
    cli::{
        items::read,
        limits,
        table::{Column, Table, cell, local, none},
    },
    client::credentials_as_keys,
};

/// A credential as the admin API shows it. Unknown fields of newer servers are ignored.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Credential(CredentialView);

impl Deref for Credential {
    type Target = CredentialView;

    fn deref(&self) -> &CredentialView {
        &self.0
    }
}

impl Credential {
    pub(super) fn of(value: &Value) -> Result<Self, Failure> {
        read(value, A_KEY)
    }

    /// One line: the verb, and which key of which workspace.
    pub(super) fn summary(&self, verb: &str) -> String {
        let default = if self.is_default { ", default" } else { "" };
        let (id, workspace) = (&self.id, &self.workspace_id);
        match (&self.provider, &self.label, &self.environment) {
            (Some(provider), Some(label), Some(environment)) => format!(
                "{verb} {id}: {provider} key \"{label}\" of workspace {workspace} ({environment}{default}, {})",
                cell(&self.hint)
            ),
            _ => format!("{verb} {id}: key of workspace {workspace} (its record is lost{default})"),
        }
    }

    /// The name to type before it is revoked, and what kind of name that is.
    pub(super) fn name_to_confirm(&self) -> (&str, &'static str) {
        match &self.label {
            Some(label) => (label.as_str(), "label"),
            None => (self.id.as_str(), "id"),
        }
    }

    /// Returns provider and label.
    ///
    /// # Errors
    /// Its record is lost. Called before a prompt for a secret.
    pub(super) fn expect_readable(&self) -> Result<(&str, &str), Failure> {
        match (&self.provider, &self.label) {
            (Some(provider), Some(label)) => Ok((provider.as_str(), label.as_str())),
            _ => Err(Failure::failed(
                "the record of this key is lost, so its secret cannot be replaced",
            )
            .next("Revoke it with `keyside key revoke ID`, and add the key again.")),
        }
    }

    /// Prints the key's warnings on standard error.
    pub(super) fn print_warnings(&self, console: &Console) {
        for warning in &self.warnings {
            console.warn(credentials_as_keys(warning));
        }
        let duplicates = self.duplicates.iter().flatten();
        let (revoked, stored): (Vec<_>, Vec<_>) = duplicates.partition(|other| is_revoked(other));
        if let Some(first) = revoked.first() {
            let name = name_of(first);
            console.warn(format_args!(
                "the same secret was revoked as {name}: if it leaked, create another key at the provider"
            ));
        }
        if let [first, others @ ..] = stored.as_slice() {
            let more = match others.len() {
                0 => String::new(),
                count => format!(
                    ", and as {count} more; `keyside key show {}` lists them",
                    self.id
                ),
            };
            let name = name_of(first);
            console.warn(format_args!("the same secret is stored as {name}{more}"));
        }
    }

    /// Says on standard error how to change what the warnings of a new key are about.
    pub(super) fn print_next_steps(&self, console: &Console) {
        let id = &self.id;
        if !self.is_default {
            console.note(format_args!(
                "  next: `keyside key edit {id} --default` makes it the default."
            ));
        }
        if self.verification == Some(Verification::Rejected) {
            console.note(format_args!(
                "  next: it is stored all the same; `keyside key rotate {id}` replaces the secret."
            ));
        }
    }

    /// A line that says that the provider accepts the secret. Warnings tell every other result.
    pub(super) fn acceptance(&self) -> &'static str {
        match self.verification {
            Some(Verification::Accepted) => "The provider accepts it.\n",
            _ => "",
        }
    }

    /// A line with what the last check's prompt has cost; nothing if there was none.
    pub(super) fn cost_of_prompt(&self, prompted: bool) -> String {
        let check = self.check.as_ref().filter(|_| prompted);
        let Some((check, usage)) = check.and_then(|check| Some((check, check.usage.as_ref()?)))
        else {
            return String::new();
        };
        let count =
            |tokens: Option<u64>| tokens.map_or_else(|| "unknown".to_owned(), |it| it.to_string());
        format!(
            "The prompt took {} ms; input tokens: {}, output tokens: {}.\n",
            check.latency_ms.unwrap_or_default(),
            count(usage.input_tokens),
            count(usage.output_tokens)
        )
    }

    /// Whether both have the same current secret, judged by their fingerprints.
    pub(super) fn has_secret_of(&self, other: &Self) -> bool {
        self.fingerprint.is_some() && self.fingerprint == other.fingerprint
    }

    /// Fails if the secret stays in Vault, and names the place to replace it. Called before a
    /// prompt for a secret.
    pub(super) fn expect_sealed(&self) -> Result<(), Failure> {
        match (&self.secret_ref, &self.source) {
            (Some(_), Some(source)) => Err(Failure::failed(format!(
                "the secret of this key stays in Vault ({source}), and is rotated there"
            ))
            .next("Keyside follows within vault.poll, or at once with `keyside key refresh ID`.")),
            _ => Ok(()),
        }
    }

    fn shown_versions(&self) -> String {
        let kept = self
            .versions
            .iter()
            .filter(|version| version.state != VersionState::Destroyed);
        let shown: Vec<_> = kept
            .map(|version| {
                let VersionView { number, .. } = version;
                let state = cell(&version.state);
                match (version.grace_until, &version.source_version) {
                    (Some(end), _) => format!("{number} {state} (ends {})", relative_time(end)),
                    (None, Some(source)) => format!("{number} {state} (version {source} there)"),
                    (None, None) => format!("{number} {state}"),
                }
            })
            .collect();
        cell(&shown.join(", "))
    }

    /// Every field.
    pub(super) fn fields(&self) -> Table {
        let time = |at: Option<Timestamp>| {
            at.map(|at| format!("{} ({})", local(at), relative_time(at)))
                .unwrap_or_else(none)
        };
        let default = if self.is_default { "yes" } else { "no" };
        let cause = self.check.as_ref().and_then(|check| check.cause);
        let rows = [
            ("id", self.id.to_string()),
            ("workspace", self.workspace_id.to_string()),
            ("provider", cell(&self.provider)),
            ("label", cell(&self.label)),
            ("environment", cell(&self.environment)),
            ("status", self.shown_status()),
            ("default", default.to_owned()),
            ("usage tag", cell(&self.usage_tag)),
            ("endpoint", cell(&self.endpoint)),
            ("hint", cell(&self.hint)),
            ("fingerprint", cell(&self.fingerprint)),
            ("expires", time(self.expires_at)),
            ("created", self.shown_creation()),
            ("versions", self.shown_versions()),
            ("last rotated", time(self.last_rotated_at)),
            ("last used", time(self.last_used_at)),
            ("last verified", time(self.last_verified_at)),
            ("verification", cell(&self.verification)),
            ("cause", cell(&cause)),
            ("in traffic", self.shown_traffic()),
        ];
        let spend = limits::rows(self.limits, self.usage);
        let kept = [
            ("kept in", &self.source),
            ("version there", &self.source_version),
            ("not read", &self.source_fault),
        ];
        let kept = kept
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)));
        let duplicates = self.duplicates.iter().flatten();
        let duplicates = duplicates.map(|duplicate| {
            let name = name_of(duplicate);
            match is_revoked(duplicate) {
                true => ("same secret", format!("{name} (revoked)")),
                false => ("same secret", name),
            }
        });
        Table::of_fields(rows.into_iter().chain(spend).chain(kept).chain(duplicates))
    }

    fn shown_creation(&self) -> String {
        match (self.created_at, &self.created_by) {
            (Some(at), Some(by)) => format!("{} ({}) by {by}", local(at), relative_time(at)),
            _ => none(),
        }
    }

    fn shown_status(&self) -> String {
        match (&self.status, self.damaged) {
            (Some(status), true) => format!("{status}, damaged"),
            (Some(status), false) if self.is_rejected() => format!("{status}, rejected"),
            (Some(status), false) => status.to_string(),
            (None, _) => "damaged".to_owned(),
        }
    }

    /// Whether the provider rejects the secret in traffic.
    fn is_rejected(&self) -> bool {
        let traffic = self.traffic.as_ref();
        traffic.is_some_and(|traffic| traffic.state == TrafficState::Rejected)
    }

    fn shown_traffic(&self) -> String {
        match &self.traffic {
            Some(TrafficView {
                since: Some(since),
                count,
                cause,
                ..
            }) => format!(
                "rejected ({}) since {} ({}); requests rejected: {count}",
                cell(cause),
                local(*since),
                relative_time(*since)
            ),
            traffic => cell(&traffic.as_ref().map(|traffic| traffic.state)),
        }
    }

    /// Where the secret is kept if not in Keyside, and which version is used.
    fn shown_source(&self) -> String {
        match (&self.source, &self.source_version) {
            (Some(source), Some(version)) => format!("{source}, version {version}"),
            (Some(source), None) => format!("{source}, not read"),
            (None, _) => none(),
        }
    }
}

pub(super) fn table(credentials: &[Credential], console: &Console) -> String {
    if credentials.is_empty() {
        return "No keys. `keyside key add --workspace ID --provider ID` stores one.\n".to_owned();
    }
    let mut columns = COLUMNS.to_vec();
    if credentials.iter().any(|one| one.source.is_some()) {
        columns.push(("KEPT IN", Credential::shown_source));
    }
    console.table(&Table::of(credentials, &columns))
}

fn default_mark(credential: &Credential) -> String {
    if credential.is_default { "yes" } else { "" }.to_owned()
}

fn last_use(credential: &Credential) -> String {
    let at = credential.last_used_at;
    at.map_or_else(|| "never".to_owned(), relative_time)
}

/// The difference from now, in its largest unit: `in 12 days`, `3 hours ago`.
fn relative_time(at: Timestamp) -> String {
    let seconds = at.as_second() - SystemClock.now().as_second();
    let units = [("day", 86_400), ("hour", 3_600), ("minute", 60)];
    let unit = units
        .into_iter()
        .find(|(_, length)| seconds.abs() >= *length);
    let Some((unit, length)) = unit else {
        let (soon, past) = ("in less than a minute", "just now");
        return if seconds > 0 { soon } else { past }.to_owned();
    };
    let count = seconds.abs() / length;
    let plural = if count == 1 { "" } else { "s" };
    match seconds > 0 {
        true => format!("in {count} {unit}{plural}"),
        false => format!("{count} {unit}{plural} ago"),
    }
}

fn name_of(other: &Duplicate) -> String {
    let (provider, label, workspace) = (&other.provider, &other.label, &other.workspace_id);
    format!("{provider} key \"{label}\" of workspace {workspace}")
}

fn is_revoked(other: &Duplicate) -> bool {
    other.status == Status::Revoked
}

pub(super) const A_KEY: &str = "a key";

const COLUMNS: [Column<Credential>; 10] = [
    ("WORKSPACE", |key| key.workspace_id.to_string()),
    ("PROVIDER", |key| cell(&key.provider)),
    ("LABEL", |key| cell(&key.label)),
    ("ENVIRONMENT", |key| cell(&key.environment)),
    ("STATUS", Credential::shown_status),
    ("DEFAULT", default_mark),
    ("HINT", |key| cell(&key.hint)),
    ("EXPIRES", |key| {
        key.expires_at.map_or_else(none, relative_time)
    }),
    ("LAST USED", last_use),
    ("ID", |key| key.id.to_string()),
];
