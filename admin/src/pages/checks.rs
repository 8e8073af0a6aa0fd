//! Checks: the results of smoke runs for the keys of a workspace, and a button that starts one.

mod item;

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use keyside_credentials::{
    Permission, Scope, Workspace,
    smoke::{Selection, Trigger},
};
use serde_json::json;

use self::item::Item;
use super::{
    form::SessionForm,
    html::{page, see_other},
    meter::Meter,
    shell::{Shell, Visit},
    time::Time,
    view::CheckedKeys,
};
use crate::{
    concurrency::WorkKind,
    problem::Problem,
    query::Parameters,
    smoke,
    wire::{NewSmokeRun, SmokeReportView, SmokeSpendView, SmokeState, SmokeView},
};

#[derive(Template)]
#[template(path = "checks.html")]
struct Checks {
    shell: Shell,
    can_run: bool,
    /// Whether the person may tag a key.
    can_edit: bool,
    checked: CheckedKeys,
    /// Empty if there is no schedule.
    schedule: String,
    next_run: Time,
    run: Option<LatestRun>,
    any: bool,
    items: Vec<Item>,
    spend: Vec<Meter>,
}

struct LatestRun {
    id: String,
    trigger: &'static str,
    running: bool,
    done: usize,
    total: usize,
    finished: Time,
}

pub(super) async fn show(visit: Visit, mut parameters: Parameters) -> Result<Response, Problem> {
    let asked = parameters.text("workspace");
    parameters.finish()?;
    let Some(workspace) = visit.workspace(asked.as_deref())? else {
        return Ok(visit.see_other("/workspaces"));
    };
    let _permit = visit.state.acquire(WorkKind::List, &visit.caller).await?;
    let (selection, scope) = only(&workspace);
    let found = smoke::overview(&visit.state, &selection, &scope).await?;
    let report = match &found.run {
        Some(run) => Some(smoke::report(&visit.state, &run.id, &selection, &scope).await?),
        None => None,
    };
    page(&view(&visit, &workspace, found, report.as_ref()))
}

/// Starts a run of the workspace's keys.
pub(super) async fn start(
    visit: Visit,
    SessionForm(fields): SessionForm,
) -> Result<Response, Problem> {
    visit.caller.require(Permission::RunSmoke)?;
    let workspace = visit.workspace_of(&fields)?;
    let page = visit.address("/checks", &workspace.id);
    let new = NewSmokeRun {
        workspace_id: Some(workspace.id),
        providers: None,
    };
    let started = smoke::start(&visit.state, &visit.caller, new).await?;
    if started.run.is_none() {
        let text = "No key of this workspace has the tag of checks, and none is expected.";
        visit.flash("Nothing to check", text);
    }
    Ok(see_other(&page))
}

/// How far a run is in a workspace, for the page's script. One that is not known any more has finished.
pub(super) async fn progress(
    visit: Visit,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let text = |text: &str| Ok(text.to_owned());
    let workspace = parameters.required("workspace", text);
    let id = parameters.required("run", text);
    parameters.finish()?;
    let (workspace, id) = (workspace.unwrap_or_default(), id.unwrap_or_default());
    let registry = &visit.state.registry;
    let workspace = visit.caller.workspace(registry, &workspace)?;
    let _permit = visit.state.acquire(WorkKind::List, &visit.caller).await?;
    let (selection, scope) = only(&workspace);
    let report = smoke::report(&visit.state, &id, &selection, &scope).await?;
    let run = report.run.as_ref();
    let progress = json!({
        "done": done(&report),
        "total": report.items.len(),
        "finished": run.is_none_or(|run| run.state == SmokeState::Finished),
    });
    Ok(Json(progress).into_response())
}

/// What belongs to one workspace.
fn only(workspace: &Workspace) -> (Selection, Scope) {
    let selection = Selection {
        workspaces: vec![workspace.id.clone()],
        providers: Vec::new(),
    };
    let scope = Scope::Only(Arc::new(BTreeSet::from([workspace.id.clone()])));
    (selection, scope)
}

fn view(
    visit: &Visit,
    workspace: &Workspace,
    found: SmokeView,
    report: Option<&SmokeReportView>,
) -> Checks {
    let now = visit.state.registry.now();
    let run = report.and_then(|report| Some((report, report.run.as_ref()?)));
    let run = run.map(|(report, run)| LatestRun {
        id: run.id.clone(),
        trigger: match run.trigger {
            Trigger::Schedule => "on schedule",
            Trigger::Change => "after a change",
            Trigger::Request => "on request",
        },
        running: run.state == SmokeState::Running,
        done: done(report),
        total: report.items.len(),
        finished: Time::new(run.finished_at, now),
    });
    let items = found.items.iter();
    let items = items.map(|item| Item::of(visit, item, now));
    let spent = found.spent_today.first();
    Checks {
        shell: visit.shell("/checks", Some(workspace)),
        can_run: visit.may(Permission::RunSmoke),
        can_edit: visit.may(Permission::ChangeCredentials),
        any: !found.items.is_empty(),
        items: items.collect(),
        spend: spent.map_or_else(Vec::new, |spent| meters(&found, spent)),
        run,
        next_run: Time::new(found.next_run_at, now),
        schedule: found.schedule.unwrap_or_default(),
        checked: CheckedKeys::of(visit.state.smoke.settings(), &workspace.id),
    }
}

/// The keys of a run that have a result.
fn done(report: &SmokeReportView) -> usize {
    let items = report.items.iter();
    items.filter(|item| item.checked_at.is_some()).count()
}

fn meters(found: &SmokeView, spent: &SmokeSpendView) -> Vec<Meter> {
    vec![
        Meter::new("Requests", spent.requests, found.requests_per_day),
        Meter::new("Tokens", spent.tokens, found.tokens_per_day),
    ]
}
