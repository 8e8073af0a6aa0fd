//! A key as people read it.

use keyside_admin::wire::{CredentialView, Duplicate, VersionView};
use keyside_credentials::{Clock, SystemClock, Timestamp, VersionState};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Answer, Failure};
use crate::{
    cli::{
        items::another_form,
        table::{Table, local},
    },
    client::about_keys,
};

/// A key as the admin API shows it. Fields that a newer server adds are ignored.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Credential(CredentialView);

impl Credential {
    pub(super) fn of(value: &Value) -> Result<Self, Failure> {
        Self::deserialize(value).map_err(|_| another_form("a key"))
    }

    pub(super) fn workspace(&self) -> &str {
        self.0.workspace_id.as_str()
    }

    /// One line: what it is, for whom.
    pub(super) fn in_words(&self, verb: &str) -> String {
        let default = if self.0.is_default { ", default" } else { "" };
        let (id, workspace) = (&self.0.id, &self.0.workspace_id);
        match (&self.0.provider, &self.0.label, &self.0.environment) {
            (Some(provider), Some(label), Some(environment)) => format!(
                "{verb} {id}: {provider} key \"{label}\" of workspace {workspace} ({environment}{default}, {})",
                self.shown_hint()
            ),
            _ => format!("{verb} {id}: key of workspace {workspace} (its record is lost{default})"),
        }
    }

    /// What names it to the person who is about to revoke it, and what that is.
    pub(super) fn called(&self) -> (&str, &'static str) {
        match &self.0.label {
            Some(label) => (label.as_str(), "label"),
            None => (self.0.id.as_str(), "id"),
        }
    }

    /// Its provider and its label. Says what to do where its record is lost, before anybody is asked for a secret.
    pub(super) fn expect_readable(&self) -> Result<(&str, &str), Failure> {
        match (&self.0.provider, &self.0.label) {
            (Some(provider), Some(label)) => Ok((provider.as_str(), label.as_str())),
            _ => Err(Failure::failed(
                "the record of this key is lost, so that its secret cannot be replaced",
            )
            .next("Revoke it with `keyside key revoke ID`, and add the key again.")),
        }
    }

    /// Says beside the answer what is unusual about it.
    pub(super) fn remark_on(&self, answer: &Answer) {
        for warning in &self.0.warnings {
            answer.remark(&format!("warning: {}", about_keys(warning)));
        }
        let duplicates: Vec<_> = self.0.duplicates.iter().flatten().collect();
        if let [first, others @ ..] = duplicates.as_slice() {
            let more = match others.len() {
                0 => String::new(),
                count => format!(
                    ", and as {count} more; `keyside key show {}` lists them",
                    self.0.id
                ),
            };
            answer.remark(&format!(
                "warning: the same secret is stored as {}{more}",
                duplicate(first)
            ));
        }
    }

    /// Whether both have the same secret in use, as far as their fingerprints tell.
    pub(super) fn has_secret_of(&self, other: &Self) -> bool {
        self.0.fingerprint.is_some() && self.0.fingerprint == other.0.fingerprint
    }

    /// Says where a secret that stays in Vault is replaced, before anybody is asked for one.
    pub(super) fn expect_sealed(&self) -> Result<(), Failure> {
        match (&self.0.secret_ref, &self.0.source) {
            (Some(_), Some(source)) => Err(Failure::failed(format!(
                "the secret of this key stays in Vault ({source}), and is rotated there"
            ))
            .next("Keyside follows within vault.poll, or at once with `keyside key refresh ID`.")),
            _ => Ok(()),
        }
    }

    /// The versions that are not gone.
    fn shown_versions(&self) -> String {
        let there = self
            .0
            .versions
            .iter()
            .filter(|it| it.state != VersionState::Destroyed);
        let shown: Vec<_> = there
            .map(|version| {
                let VersionView { number, .. } = version;
                let state = text(&version.state);
                match (version.grace_until, &version.source_version) {
                    (Some(end), _) => format!("{number} {state} (ends {})", distance(end)),
                    (None, Some(there)) => format!("{number} {state} (version {there} there)"),
                    (None, None) => format!("{number} {state}"),
                }
            })
            .collect();
        if shown.is_empty() {
            none()
        } else {
            shown.join(", ")
        }
    }

    /// Every field there is.
    pub(super) fn show(&self, value: &Value, answer: &Answer) -> Result<(), Failure> {
        answer.give(value, |answer| answer.table(&self.fields()))
    }

    fn fields(&self) -> Table {
        let time = |at: Option<Timestamp>| {
            at.map(|at| format!("{} ({})", local(at), distance(at)))
                .unwrap_or_else(none)
        };
        let mut table = Table::new([]);
        let rows = [
            ("id", self.0.id.to_string()),
            ("workspace", self.0.workspace_id.to_string()),
            ("provider", text(&self.0.provider)),
            ("label", text(&self.0.label)),
            ("environment", text(&self.0.environment)),
            ("status", self.shown_status()),
            (
                "default",
                if self.0.is_default { "yes" } else { "no" }.to_owned(),
            ),
            ("usage tag", text(&self.0.usage_tag)),
            ("endpoint", text(&self.0.endpoint)),
            ("hint", self.shown_hint()),
            ("fingerprint", text(&self.0.fingerprint)),
            ("expires", time(self.0.expires_at)),
            ("created", self.shown_creation()),
            ("versions", self.shown_versions()),
            ("last rotated", time(self.0.last_rotated_at)),
            ("last used", time(self.0.last_used_at)),
            ("last verified", time(self.0.last_verified_at)),
            ("verification", text(&self.0.verification)),
        ];
        let kept = [
            ("kept in", &self.0.source),
            ("version there", &self.0.source_version),
            ("not read", &self.0.source_fault),
        ];
        let kept = kept
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)));
        let duplicates = self.0.duplicates.iter().flatten();
        let duplicates = duplicates.map(|other| ("same secret", duplicate(other)));
        for (name, value) in rows.into_iter().chain(kept).chain(duplicates) {
            table.row([name.to_owned(), value]);
        }
        table
    }

    fn shown_creation(&self) -> String {
        match (self.0.created_at, &self.0.created_by) {
            (Some(at), Some(by)) => format!("{} ({}) by {by}", local(at), distance(at)),
            _ => none(),
        }
    }

    fn shown_status(&self) -> String {
        match (&self.0.status, self.0.damaged) {
            (Some(status), true) => format!("{status}, damaged"),
            (Some(status), false) => status.to_string(),
            (None, _) => "damaged".to_owned(),
        }
    }

    /// Where its secret is kept, if not here, and which version is used.
    fn shown_source(&self) -> String {
        match (&self.0.source, &self.0.source_version) {
            (Some(source), Some(version)) => format!("{source}, version {version}"),
            (Some(source), None) => format!("{source}, not read"),
            (None, _) => none(),
        }
    }

    fn shown_hint(&self) -> String {
        text(&self.0.hint)
    }
}

pub(super) fn table(credentials: &[Credential], answer: &Answer) -> String {
    if credentials.is_empty() {
        return "No keys. `keyside key add --workspace ID --provider ID` stores one.\n".to_owned();
    }
    // Most have none that is kept elsewhere, and need no column for it.
    let elsewhere = credentials.iter().any(|it| it.0.source.is_some());
    let mut heading = vec![
        "WORKSPACE",
        "PROVIDER",
        "LABEL",
        "ENVIRONMENT",
        "STATUS",
        "DEFAULT",
        "HINT",
        "EXPIRES",
        "LAST USED",
        "ID",
    ];
    heading.extend(elsewhere.then_some("KEPT IN"));
    let mut table = Table::new(heading);
    for credential in credentials {
        let source = elsewhere.then(|| credential.shown_source());
        let cells = [
            credential.0.workspace_id.to_string(),
            text(&credential.0.provider),
            text(&credential.0.label),
            text(&credential.0.environment),
            credential.shown_status(),
            if credential.0.is_default { "yes" } else { "" }.to_owned(),
            credential.shown_hint(),
            credential.0.expires_at.map(distance).unwrap_or_else(none),
            credential
                .0
                .last_used_at
                .map_or_else(|| "never".to_owned(), distance),
            credential.0.id.to_string(),
        ];
        table.row(cells.into_iter().chain(source));
    }
    answer.table(&table)
}

/// How far off a time is, in its largest unit: `in 12 days`, `3 hours ago`.
fn distance(at: Timestamp) -> String {
    let seconds = at.as_second() - SystemClock.now().as_second();
    let units = [("day", 86_400), ("hour", 3_600), ("minute", 60)];
    let unit = units
        .into_iter()
        .find(|(_, length)| seconds.abs() >= *length);
    let Some((unit, length)) = unit else {
        return if seconds > 0 {
            "in less than a minute"
        } else {
            "just now"
        }
        .to_owned();
    };
    let count = seconds.abs() / length;
    let plural = if count == 1 { "" } else { "s" };
    if seconds > 0 {
        format!("in {count} {unit}{plural}")
    } else {
        format!("{count} {unit}{plural} ago")
    }
}

/// A field as its JSON has it.
fn text(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        _ => none(),
    }
}

fn duplicate(other: &Duplicate) -> String {
    let (provider, label, workspace) = (&other.provider, &other.label, &other.workspace_id);
    format!("{provider} key \"{label}\" of workspace {workspace}")
}

fn none() -> String {
    "-".to_owned()
}
