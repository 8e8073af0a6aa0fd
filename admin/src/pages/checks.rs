//! Checks: the results of smoke runs for the keys of a workspace, and a button that starts one.

mod item;

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use keyside_credentials::{
    Permission, Scope, Timestamp, Workspace,
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
    wire::{NewSmokeRun, SmokeReportView, SmokeRunView, SmokeSpendView, SmokeState, SmokeView},
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
    progress: Progress,
    finished: Time,
}

/// How far a run is.
struct Progress {
    done: usize,
    /// `None` if it is not known: a run of changed keys finds them one after another.
    total: Option<usize>,
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
    let progress = Progress::of(&report);
    let progress = json!({
        "text": progress.text(),
        "done": progress.done,
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
    let run = found.run.as_ref().zip(report);
    let run = run.map(|(run, report)| LatestRun::of(run, report, now));
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

impl LatestRun {
    /// `run` was read before the results in the table, and `report` after them. A run that finished
    /// in between is still shown as running: the page follows it, and then loads all of its results.
    fn of(run: &SmokeRunView, report: &SmokeReportView, now: Timestamp) -> Self {
        Self {
            id: run.id.clone(),
            trigger: match run.trigger {
                Trigger::Schedule => "on schedule",
                Trigger::Change => "after a change",
                Trigger::Request => "on request",
            },
            running: run.state == SmokeState::Running,
            progress: Progress::of(report),
            finished: Time::new(run.finished_at, now),
        }
    }
}

impl Progress {
    fn of(report: &SmokeReportView) -> Self {
        let items = report.items.iter();
        let run = report.run.as_ref();
        let is_known = run.is_some_and(|run| run.trigger != Trigger::Change);
        Self {
            done: items.filter(|item| item.checked_at.is_some()).count(),
            total: Some(report.items.len()).filter(|total| is_known && *total > 0),
        }
    }

    fn text(&self) -> String {
        let done = self.done;
        match self.total {
            Some(total) => format!("{done} of {total} done"),
            None => format!("{done} done"),
        }
    }
}

fn meters(found: &SmokeView, spent: &SmokeSpendView) -> Vec<Meter> {
    vec![
        Meter::new("Requests", spent.requests, found.requests_per_day),
        Meter::new("Tokens", spent.tokens, found.tokens_per_day),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(trigger: Trigger, state: SmokeState) -> SmokeRunView {
        SmokeRunView {
            id: "smoke_1".to_owned(),
            trigger,
            state,
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: None,
        }
    }

    fn empty(run: SmokeRunView) -> SmokeReportView {
        SmokeReportView {
            run: Some(run),
            items: Vec::new(),
        }
    }

    #[test]
    fn a_run_that_finishes_while_its_page_is_made_is_still_followed() {
        let [running, finished] =
            [SmokeState::Running, SmokeState::Finished].map(|state| run(Trigger::Request, state));
        let report = empty(run(Trigger::Request, SmokeState::Finished));
        let is_followed =
            |read: &SmokeRunView| LatestRun::of(read, &report, Timestamp::UNIX_EPOCH).running;
        assert!(
            is_followed(&running),
            "its results may be missing in the table"
        );
        assert!(!is_followed(&finished));
    }

    #[test]
    fn a_run_of_changed_keys_does_not_say_of_how_many() {
        let report = empty(run(Trigger::Change, SmokeState::Running));
        let progress = Progress::of(&report);
        assert_eq!((progress.text().as_str(), progress.total), ("0 done", None));
    }
}
