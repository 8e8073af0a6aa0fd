//! The filters of the log: actor, event, key and days.

use jiff::{civil::Date, tz::TimeZone};
use keyside_credentials::{
    ActorId, CredentialId, Timestamp, Workspace,
    audit::{AuditFilter, Cursor, Event},
};

use crate::{
    pages::{
        shell::{Visit, query},
        view::text_of,
    },
    query::Parameters,
    routes::audit::event,
    wire::parsed,
};

/// Each field without a value includes everything.
#[derive(Default)]
pub(super) struct Filters {
    pub(super) workspace: Option<String>,
    pub(super) event: Option<Event>,
    pub(super) key: Option<CredentialId>,
    pub(super) actor: Option<ActorId>,
    /// The first day, in UTC.
    pub(super) since: Option<Date>,
    /// The last day, in UTC.
    pub(super) until: Option<Date>,
    /// Whether to show records of other workspaces and of the installation too.
    pub(super) is_wide: bool,
    pub(super) cursor: Option<Cursor>,
}

impl Filters {
    pub(super) fn read(parameters: &mut Parameters) -> Self {
        let all = |text: &str| match text {
            "all" => Ok(true),
            _ => Err("expected all".to_owned()),
        };
        Self {
            workspace: parameters.text("workspace"),
            event: parameters.filter("event", event),
            key: parameters.filter("key", parsed),
            actor: parameters.filter("actor", parsed),
            since: parameters.filter("since", date),
            until: parameters.filter("until", date),
            is_wide: parameters.filter("within", all).unwrap_or_default(),
            cursor: parameters.cursor(|text| text.parse().ok()),
        }
    }

    /// The filter of the registry. Its `within` holds the caller to its scope.
    pub(super) fn of_records(&self, visit: &Visit, workspace: Option<&Workspace>) -> AuditFilter {
        let workspace = workspace.filter(|_| !self.is_wide);
        AuditFilter {
            within: visit.caller.scope().clone(),
            workspace: workspace.map(|workspace| workspace.id.clone()),
            actor: self.actor.clone(),
            event: self.event,
            credential: self.key.clone(),
            since: self.since.and_then(begin),
            until: self.until.and_then(|day| begin(day.tomorrow().ok()?)),
        }
    }

    pub(super) fn is_active(&self) -> bool {
        self.is_wide
            || self.event.is_some()
            || self.key.is_some()
            || self.actor.is_some()
            || self.since.is_some()
            || self.until.is_some()
    }

    /// The query of the page from a cursor on, or of an export in a format.
    pub(super) fn query(&self, workspace: &Workspace, cursor: &str, format: &str) -> String {
        query(&[
            ("workspace", workspace.id.as_ref()),
            ("event", self.event.map_or("", Event::as_str)),
            ("key", self.key.as_ref().map_or("", CredentialId::as_str)),
            ("actor", self.actor.as_ref().map_or("", ActorId::as_str)),
            ("since", &text_of(self.since)),
            ("until", &text_of(self.until)),
            ("within", if self.is_wide { "all" } else { "" }),
            ("cursor", cursor),
            ("format", format),
        ])
    }
}

/// jiff's own error would quote the text.
fn date(text: &str) -> Result<Date, String> {
    let date = text.parse();
    date.map_err(|_| "expected a date such as 2027-01-31".to_owned())
}

/// The beginning of a day in UTC.
fn begin(day: Date) -> Option<Timestamp> {
    let midnight = day.to_zoned(TimeZone::UTC);
    midnight.ok().map(|midnight| midnight.timestamp())
}
