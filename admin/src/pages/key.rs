//! A key: everything about it, and what its buttons do.

pub(super) mod edit;
mod facts;
pub(super) mod revoke;
pub(super) mod rotate;
mod state;

use askama::Template;
use axum::{extract::Path, response::Response};
use keyside_credentials::{
    Credential, Listed, Permission, Rollback, Status,
    audit::{AuditFilter, AuditRecord, Event},
    runs::RunFilter,
};

pub(super) use self::facts::Duplicate;
use self::{
    facts::{Facts, VersionRow},
    state::{etag, seen},
};
use super::{
    form::{Fields, SessionForm},
    html::{page, problem_page, see_other},
    keys::{is_revoked, known},
    lines::{self, Line},
    number::milliseconds,
    record_rows::RecordRow,
    run_rows::RunRow,
    shell::{Shell, Visit, query},
    time::Time,
    verdict,
    view::{Notice, text_of},
};
use crate::{
    concurrency::WorkKind,
    credential_changes::{self, Change},
    form,
    problem::Problem,
    wire::{CheckView, CredentialRollback},
};

#[derive(Template)]
#[template(path = "key.html")]
struct Key {
    shell: Shell,
    can_edit: bool,
    notices: Vec<Notice>,
    key: Facts,
    check: LastCheck,
    versions: Vec<VersionRow>,
    duplicates: Vec<Duplicate>,
    lines: Vec<Line>,
    preview_href: String,
    runs: Vec<RunRow>,
    runs_href: String,
    no_runs: &'static str,
    records: Vec<RecordRow>,
    audit_href: String,
    no_records: &'static str,
    etag: String,
}

/// The last live check of the secret in use.
#[derive(Default)]
struct LastCheck {
    /// None if this process knows of none.
    verdict: Option<Notice>,
    at: Time,
    /// Empty if it is unknown.
    latency: String,
}

pub(super) async fn show(
    visit: Visit,
    Path((_session, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let listed = visit.caller.listed(&visit.state.registry, &id)?;
    page(&view(&visit, &listed, None).await?)
}

/// The buttons of the page: a check, a rollback, the default, and a read of the source.
pub(super) async fn act(
    visit: Visit,
    Path((_session, id)): Path<(String, String)>,
    SessionForm(fields): SessionForm,
) -> Result<Response, Problem> {
    visit.caller.require(Permission::ChangeCredentials)?;
    let key = visit.caller.credential(&visit.state.registry, &id)?;
    let href = visit.key_href(&key.id);
    let Err(problem) = done(&visit, key, &fields).await else {
        return Ok(see_other(&href));
    };
    let listed = visit.caller.listed(&visit.state.registry, &id)?;
    let said = Notice::refusal(&problem, &[]);
    let shown = view(&visit, &listed, Some(said)).await?;
    Err(problem_page(problem, &shown))
}

async fn done(visit: &Visit, key: Credential, fields: &Fields) -> Result<(), Problem> {
    let Visit { state, caller, .. } = visit;
    let act = caller.context();
    match fields.text("do") {
        "check" => {
            // The page shows the verdict itself.
            credential_changes::verify(state, caller, key, false).await?;
        }
        "refresh" => {
            state.registry.refresh(&key.id).await?;
            visit.flash("Read again", "What the source says now is below.");
        }
        "roll-back" => {
            let wanted = fields.json_with(&[], &[("version", fields.number("version"))]);
            let CredentialRollback { version: to } = form::read(&wanted)?;
            let rollback = Rollback {
                to,
                expected: seen(visit, fields),
            };
            state.registry.roll_back(&act, &key.id, rollback).await?;
            let text = "New requests use the earlier secret. The one that it replaces is in grace.";
            visit.flash("Rolled back", text);
        }
        "default" => {
            let change = Change::read(&fields.json_with(&[], &[("default", true.into())]))?;
            let expected = seen(visit, fields);
            let made = change.make(state, caller, &key, expected, None).await?;
            let text = format!("Requests that name no label use {}.", key.label);
            visit.flash_with("Used by default", text, made.warnings);
        }
        _ => {
            let detail = "expected check, refresh, roll-back or default";
            return Err(Problem::field("do", detail));
        }
    }
    Ok(())
}

async fn view(visit: &Visit, listed: &Listed, said: Option<Notice>) -> Result<Key, Problem> {
    let Visit { state, caller, .. } = visit;
    let now = state.registry.now();
    let workspace = visit.workspace(Some(listed.workspace().as_str()))?;
    let _permit = state.acquire(WorkKind::List, caller).await?;
    let (runs, no_runs) = match visit.may(Permission::ReadRuns) {
        true => (recent_runs(visit, listed).await, "No request has used it."),
        false => (Vec::new(), NOT_YOURS),
    };
    let may_read_audit = visit.may(Permission::ReadAudit);
    let (records, no_records) = match may_read_audit {
        true => (trail(visit, listed).await?, "No records."),
        false => (Vec::new(), NOT_YOURS),
    };
    let revocation = match may_read_audit {
        true => revocation(visit, listed).await?,
        false => None,
    };
    let key = Facts::of(visit, listed, revocation.as_ref(), now);
    let known = known(listed);
    let in_use = known.filter(|key| key.status != Status::Revoked && !key.damaged);
    let states = facts::notices(visit, listed, &key.href, now).into_iter();
    let workspace_id = listed.workspace().as_str();
    let id = listed.id().as_str();
    let base = visit.base();
    let runs_href = known.map_or_else(String::new, |known| {
        let query = query(&[
            ("workspace", workspace_id),
            ("provider", known.provider.as_str()),
            ("label", known.label.as_str()),
        ]);
        format!("{base}/runs{query}")
    });
    let audit = query(&[("workspace", workspace_id), ("key", id)]);
    Ok(Key {
        shell: visit.shell("/keys", workspace.as_ref()),
        can_edit: visit.may(Permission::ChangeCredentials),
        notices: said.into_iter().chain(states).collect(),
        key,
        check: in_use.map_or_else(LastCheck::default, |key| LastCheck::of(visit, key)),
        versions: facts::versions(known, now),
        duplicates: known.map_or_else(Vec::new, |key| Duplicate::all(visit, key)),
        lines: in_use.map_or_else(Vec::new, |key| lines::of(visit, key)),
        preview_href: in_use.map_or_else(String::new, |key| visit.preview_href(key)),
        runs,
        runs_href,
        no_runs,
        records,
        audit_href: format!("{base}/audit{audit}"),
        no_records,
        etag: known.map_or_else(String::new, |key| etag(visit, key)),
    })
}

async fn recent_runs(visit: &Visit, listed: &Listed) -> Vec<RunRow> {
    let filter = RunFilter {
        credential: Some(listed.id().clone()),
        ..visit.runs_of(listed.workspace())
    };
    let registry = &visit.state.registry;
    let runs = registry.runs().search(ROWS, &filter).await.into_iter();
    runs.map(|run| RunRow::of(visit, run, registry.now()))
        .collect()
}

async fn trail(visit: &Visit, listed: &Listed) -> Result<Vec<RecordRow>, Problem> {
    let now = visit.state.registry.now();
    let records = visit.newest(ROWS, &about(visit, listed)).await?.into_iter();
    let rows = records.map(|record| RecordRow::of(visit, record, now));
    Ok(rows.collect())
}

/// The record of its revocation, which may be older than the latest ones.
async fn revocation(visit: &Visit, listed: &Listed) -> Result<Option<AuditRecord>, Problem> {
    if !is_revoked(listed) {
        return Ok(None);
    }
    let filter = AuditFilter {
        event: Some(Event::CredentialRevoked),
        ..about(visit, listed)
    };
    Ok(visit.newest(1, &filter).await?.pop())
}

fn about(visit: &Visit, listed: &Listed) -> AuditFilter {
    AuditFilter {
        credential: Some(listed.id().clone()),
        ..visit.records_of(listed.workspace())
    }
}

impl LastCheck {
    fn of(visit: &Visit, key: &Credential) -> Self {
        let Some(check) = CheckView::last(&visit.state, key) else {
            return Self::default();
        };
        let provider = visit.state.provider(&key.provider);
        let name = provider.map_or("The provider", |provider| provider.name.as_str());
        Self {
            at: Time::new(check.at, visit.state.registry.now()),
            latency: text_of(check.latency_ms.map(milliseconds)),
            verdict: Some(verdict::notice(&check, name)),
        }
    }
}

/// Instead of rows.
const NOT_YOURS: &str = "Your role does not show these.";

/// Rows of the latest runs and records.
const ROWS: usize = 10;
