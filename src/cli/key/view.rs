//! Formats a key for people.

use std::ops::Deref;

use keyside_admin::wire::{CredentialView, Duplicate, VersionView};
use keyside_credentials::{Clock, SystemClock, Timestamp, VersionState};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Failure, Output};
use crate::{
    cli::{
        items::unexpected_format,
        table::{Table, local},
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
        Self::deserialize(value).map_err(|_| unexpected_format("a key"))
    }

    /// One line: the verb, and which key of which workspace.
    pub(super) fn summary(&self, verb: &str) -> String {
        let default = if self.is_default { ", default" } else { "" };
        let (id, workspace) = (&self.id, &self.workspace_id);
        match (&self.provider, &self.label, &self.environment) {
            (Some(provider), Some(label), Some(environment)) => format!(
                "{verb} {id}: {provider} key \"{label}\" of workspace {workspace} ({environment}{default}, {})",
                self.hint_or_dash()
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
    pub(super) fn print_warnings(&self, output: &Output) {
        for warning in &self.warnings {
            output.note(&format!("warning: {}", credentials_as_keys(warning)));
        }
        let duplicates: Vec<_> = self.duplicates.iter().flatten().collect();
        if let [first, others @ ..] = duplicates.as_slice() {
            let more = match others.len() {
                0 => String::new(),
                count => format!(
                    ", and as {count} more; `keyside key show {}` lists them",
                    self.id
                ),
            };
            output.note(&format!(
                "warning: the same secret is stored as {}{more}",
                name_of(first)
            ));
        }
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

    /// The versions that are not destroyed.
    fn shown_versions(&self) -> String {
        let kept = self
            .versions
            .iter()
            .filter(|version| version.state != VersionState::Destroyed);
        let shown: Vec<_> = kept
            .map(|version| {
                let VersionView { number, .. } = version;
                let state = text(&version.state);
                match (version.grace_until, &version.source_version) {
                    (Some(end), _) => format!("{number} {state} (ends {})", relative_time(end)),
                    (None, Some(source)) => format!("{number} {state} (version {source} there)"),
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

    /// Prints every field.
    pub(super) fn show(&self, value: &Value, output: &Output) -> Result<(), Failure> {
        output.print(value, |output| output.table(&self.fields()))
    }

    fn fields(&self) -> Table {
        let time = |at: Option<Timestamp>| {
            at.map(|at| format!("{} ({})", local(at), relative_time(at)))
                .unwrap_or_else(none)
        };
        let mut table = Table::new([]);
        let rows = [
            ("id", self.id.to_string()),
            ("workspace", self.workspace_id.to_string()),
            ("provider", text(&self.provider)),
            ("label", text(&self.label)),
            ("environment", text(&self.environment)),
            ("status", self.shown_status()),
            (
                "default",
                if self.is_default { "yes" } else { "no" }.to_owned(),
            ),
            ("usage tag", text(&self.usage_tag)),
            ("endpoint", text(&self.endpoint)),
            ("hint", self.hint_or_dash()),
            ("fingerprint", text(&self.fingerprint)),
            ("expires", time(self.expires_at)),
            ("created", self.shown_creation()),
            ("versions", self.shown_versions()),
            ("last rotated", time(self.last_rotated_at)),
            ("last used", time(self.last_used_at)),
            ("last verified", time(self.last_verified_at)),
            ("verification", text(&self.verification)),
        ];
        let kept = [
            ("kept in", &self.source),
            ("version there", &self.source_version),
            ("not read", &self.source_fault),
        ];
        let kept = kept
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)));
        let duplicates = self.duplicates.iter().flatten();
        let duplicates = duplicates.map(|duplicate| ("same secret", name_of(duplicate)));
        for (name, value) in rows.into_iter().chain(kept).chain(duplicates) {
            table.row([name.to_owned(), value]);
        }
        table
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
            (Some(status), false) => status.to_string(),
            (None, _) => "damaged".to_owned(),
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

    fn hint_or_dash(&self) -> String {
        text(&self.hint)
    }
}

pub(super) fn table(credentials: &[Credential], output: &Output) -> String {
    if credentials.is_empty() {
        return "No keys. `keyside key add --workspace ID --provider ID` stores one.\n".to_owned();
    }
    // The column is shown only if some secret is kept elsewhere.
    let elsewhere = credentials
        .iter()
        .any(|credential| credential.source.is_some());
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
            credential.workspace_id.to_string(),
            text(&credential.provider),
            text(&credential.label),
            text(&credential.environment),
            credential.shown_status(),
            if credential.is_default { "yes" } else { "" }.to_owned(),
            credential.hint_or_dash(),
            credential
                .expires_at
                .map(relative_time)
                .unwrap_or_else(none),
            credential
                .last_used_at
                .map_or_else(|| "never".to_owned(), relative_time),
            credential.id.to_string(),
        ];
        table.row(cells.into_iter().chain(source));
    }
    output.table(&table)
}

/// The difference from now, in its largest unit: `in 12 days`, `3 hours ago`.
fn relative_time(at: Timestamp) -> String {
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

/// A field as its JSON has it, or a dash.
fn text(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        _ => none(),
    }
}

fn name_of(other: &Duplicate) -> String {
    let (provider, label, workspace) = (&other.provider, &other.label, &other.workspace_id);
    format!("{provider} key \"{label}\" of workspace {workspace}")
}

fn none() -> String {
    "-".to_owned()
}
