//! Runs: the requests of a workspace with the key that each used, and their figures a day.

mod days;
mod filters;

use std::collections::{BTreeMap, HashSet};

use askama::Template;
use axum::response::Response;
use keyside_credentials::{
    Environment, Workspace,
    runs::{Dimension, Outcome, REFUSED, RunFilter, RunKind, RunPage},
};

use self::{
    days::{Days, charts},
    filters::Filters,
};
use super::{
    chart::Chart,
    html::page,
    pager::LogPager,
    run_rows::{RunRow, kind, outcome},
    shell::{Shell, Visit},
    view::{Choice, environments},
};
use crate::{concurrency::WorkKind, problem::Problem, query::Parameters};

#[derive(Template)]
#[template(path = "runs.html")]
struct Runs {
    shell: Shell,
    /// Whether the workspace has runs at all.
    any: bool,
    filter: FilterForm,
    charts: Vec<Chart>,
    /// What the charts leave out; empty if nothing.
    charts_note: &'static str,
    sandbox_note: String,
    runs: Vec<RunRow>,
    no_runs: &'static str,
    pager: LogPager,
}

struct FilterForm {
    days: Vec<Choice>,
    providers: Vec<Choice>,
    labels: Vec<Choice>,
    outcomes: Vec<Choice>,
    kinds: Vec<Choice>,
    environments: Vec<Choice>,
    tag: String,
    run_id: String,
    request_id: String,
    active: bool,
    clear_href: String,
}

pub(super) async fn show(visit: Visit, mut parameters: Parameters) -> Result<Response, Problem> {
    let asked = parameters.text("workspace");
    let filters = Filters::read(&mut parameters);
    parameters.finish()?;
    let Some(workspace) = visit.workspace(asked.as_deref())? else {
        return Ok(visit.see_other("/workspaces"));
    };
    let _permit = visit.state.acquire(WorkKind::List, &visit.caller).await?;
    let registry = &visit.state.registry;
    let days = Days::ending(registry.now(), filters.period);
    let all = visit.runs_of(&workspace.id);
    let filter = filters.applied_to(&all, days.since());
    let runs = registry.runs();
    let found = runs.page(ROWS, &filter, filters.before).await;
    let any = !found.runs.is_empty() || !runs.search(1, &all).await.is_empty();
    let by_day = HashSet::from([Dimension::Day]);
    // A run of a day that has no place in the charts would take that of another one: midnight may
    // have passed meanwhile, or the clock was ahead when the run was recorded.
    let shown = RunFilter {
        until: days.until(),
        ..filter
    };
    let figures = runs.figures(&shown, &by_day, days.count()).await;
    let figures = figures.map_err(Problem::unreadable)?;
    let charts = charts(&days, &figures);
    page(&view(&visit, &workspace, &filters, any, found, charts))
}

fn view(
    visit: &Visit,
    workspace: &Workspace,
    filters: &Filters,
    any: bool,
    found: RunPage,
    charts: Vec<Chart>,
) -> Runs {
    let now = visit.state.registry.now();
    Runs {
        shell: visit.shell("/runs", Some(workspace)),
        any,
        filter: filter_form(visit, workspace, filters),
        charts,
        charts_note: match filters.kind {
            None => "Live checks of keys are not counted here.",
            Some(_) => "",
        },
        sandbox_note: sandbox_note(&found),
        no_runs: match filters.before {
            Some(_) => "There are no older runs.",
            None => "No run matches.",
        },
        pager: pager(visit, workspace, filters, &found),
        runs: found
            .runs
            .into_iter()
            .map(|run| RunRow::of(visit, run, now))
            .collect(),
    }
}

fn filter_form(visit: &Visit, workspace: &Workspace, filters: &Filters) -> FilterForm {
    let keys = visit.keys(workspace);
    let providers = keys.iter().map(|key| {
        let name = visit.provider_name(&key.provider);
        (key.provider.to_string(), name)
    });
    let labels = keys.iter().map(|key| key.label.to_string());
    let labels = labels.map(|label| (label.clone(), label));
    let outcomes = Outcome::ALL.map(|it| (it.to_string(), outcome(it).word));
    let refused = (REFUSED.to_owned(), "Refused".to_owned());
    let outcomes = outcomes.into_iter().chain([refused]);
    let kinds = RunKind::ALL.map(|it| (it.to_string(), kind(it).to_owned()));
    let clear = Filters::default();
    FilterForm {
        days: filters.period.choices(),
        providers: with_selected(providers, filters.provider.as_deref()),
        labels: with_selected(labels, filters.label.as_deref()),
        outcomes: with_selected(outcomes, filters.outcome.as_deref()),
        kinds: Choice::list(kinds, filters.kind.map(RunKind::as_str)),
        environments: Choice::list(environments(), filters.environment.map(Environment::as_str)),
        tag: filters.tag.clone().unwrap_or_default(),
        run_id: filters.run_id.clone().unwrap_or_default(),
        request_id: filters.request_id.clone().unwrap_or_default(),
        active: filters.is_active(),
        clear_href: format!("{}/runs{}", visit.base(), clear.query(workspace, "")),
    }
}

/// The choices, each once. A value in force that is none of them, such as the label of a key that
/// has another one now, is one too.
fn with_selected(
    values: impl IntoIterator<Item = (String, String)>,
    selected: Option<&str>,
) -> Vec<Choice> {
    let mut values: BTreeMap<_, _> = values.into_iter().collect();
    if let Some(selected) = selected {
        let label = selected.to_owned();
        values.entry(label.clone()).or_insert(label);
    }
    Choice::list(values, selected)
}

fn pager(visit: &Visit, workspace: &Workspace, filters: &Filters, found: &RunPage) -> LogPager {
    let address = |cursor: &str| {
        let query = filters.query(workspace, cursor);
        format!("{}/runs{query}", visit.base())
    };
    let shown = found.runs.len();
    let plural = if shown == 1 { "" } else { "s" };
    let summary = match (filters.before, found.next) {
        (None, Some(_)) => format!("The newest {shown} runs"),
        (None, None) => format!("{shown} run{plural}"),
        (Some(_), _) => format!("{shown} older run{plural}"),
    };
    LogPager::new(
        summary,
        filters.before.as_ref(),
        found.next.as_ref(),
        address,
    )
}

fn sandbox_note(found: &RunPage) -> String {
    let used = found.runs.iter().filter_map(|run| run.used.as_ref());
    match used
        .filter(|used| used.environment == Environment::Sandbox)
        .count()
    {
        0 => String::new(),
        count => format!(
            "{count} of these runs used a sandbox key: latency and cost differ from production."
        ),
    }
}

/// Runs of a page: few enough to read, and for a phone to draw at once.
const ROWS: usize = 50;
