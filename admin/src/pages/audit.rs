//! Audit: who changed what in a workspace, whether the log is intact, and its export.

mod filters;

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;
use keyside_credentials::{
    ActorId, CredentialId, Listed, Permission, Workspace,
    audit::{AuditPage, Event},
};

use self::filters::Filters;
use super::{
    form::SessionForm,
    html::page,
    number::count,
    pager::LogPager,
    record_rows::{self, RecordRow},
    shell::{Shell, Visit},
    view::{Choice, Notice, text_of, unnamed},
};
use crate::{
    concurrency::WorkKind,
    form::choice,
    problem::Problem,
    query::Parameters,
    routes::audit::{Format, exported, verified},
    wire::VerifyView,
};

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    shell: Shell,
    may_verify: bool,
    may_export: bool,
    /// The result of verifying the chain, and damaged chains of this page.
    notices: Vec<Notice>,
    /// This page with its filter, for the form that verifies.
    here: String,
    filter: FilterForm,
    records: Vec<RecordRow>,
    no_records: &'static str,
    pager: LogPager,
    csv_href: String,
    ndjson_href: String,
}

struct FilterForm {
    events: Vec<Choice>,
    labels: Vec<Choice>,
    actors: Vec<Choice>,
    reaches: Vec<Choice>,
    since: String,
    until: String,
    active: bool,
    clear_href: String,
}

pub(super) async fn show(visit: Visit, mut parameters: Parameters) -> Result<Response, Problem> {
    let asked = Filters::read(&mut parameters);
    parameters.finish()?;
    render(&visit, &asked, Vec::new()).await
}

/// Verifies the whole log, and shows the page again with the result.
pub(super) async fn verify(
    visit: Visit,
    mut parameters: Parameters,
    _form: SessionForm,
) -> Result<Response, Problem> {
    let asked = Filters::read(&mut parameters);
    parameters.finish()?;
    visit.caller.require(Permission::VerifyAudit)?;
    let found = verified(&visit.state, &visit.caller).await?;
    render(&visit, &asked, vec![verdict(&found)]).await
}

/// The matching records as a file.
pub(super) async fn export(visit: Visit, mut parameters: Parameters) -> Result<Response, Problem> {
    let asked = Filters::read(&mut parameters);
    let format = parameters.filter("format", choice::<Format>);
    parameters.finish()?;
    let workspace = visit.workspace(asked.workspace.as_deref())?;
    let filter = asked.of_records(&visit, workspace.as_ref());
    let format = format.unwrap_or(Format::Ndjson);
    exported(visit.state, &visit.caller, filter, None, format).await
}

async fn render(
    visit: &Visit,
    asked: &Filters,
    mut notices: Vec<Notice>,
) -> Result<Response, Problem> {
    let Some(workspace) = visit.workspace(asked.workspace.as_deref())? else {
        return Ok(visit.see_other("/workspaces"));
    };
    let _permit = visit.state.acquire(WorkKind::List, &visit.caller).await?;
    let filter = asked.of_records(visit, Some(&workspace));
    let audit = visit.state.registry.audit();
    let found = audit.search(&filter, asked.cursor.clone(), ROWS).await;
    let found = found.map_err(Problem::unreadable)?;
    notices.extend(found.damaged.iter().map(|damage| {
        let title = "Damaged records are missing here";
        Notice::new("bad", title, format!("{damage}."))
    }));
    page(&view(visit, &workspace, asked, notices, found))
}

fn view(
    visit: &Visit,
    workspace: &Workspace,
    asked: &Filters,
    notices: Vec<Notice>,
    found: AuditPage,
) -> Audit {
    let now = visit.state.registry.now();
    let base = format!("{}/audit", visit.base());
    let address = |cursor: &str| format!("{base}{}", asked.query(workspace, cursor, ""));
    let file = |format: Format| {
        let query = asked.query(workspace, "", format.name());
        format!("{base}/export{query}")
    };
    let shown = found.records.len();
    let plural = if shown == 1 { "" } else { "s" };
    let older = found.before.as_ref();
    let no_records = match older {
        Some(_) => "None of the records that were searched matches. Older ones may.",
        None => "No record matches.",
    };
    let summary = format!("{shown} record{plural}, newest first");
    let pager = LogPager::new(summary, asked.cursor.as_ref(), older, address);
    let records = found.records.into_iter();
    let records = records.map(|record| RecordRow::of(visit, record, now));
    Audit {
        shell: visit.shell("/audit", Some(workspace)),
        may_verify: visit.may(Permission::VerifyAudit),
        may_export: visit.may(Permission::ExportAudit),
        notices,
        here: address(""),
        filter: filter_form(visit, workspace, asked),
        records: records.collect(),
        no_records,
        pager,
        csv_href: file(Format::Csv),
        ndjson_href: file(Format::Ndjson),
    }
}

fn verdict(found: &VerifyView) -> Notice {
    if found.intact {
        let (records, chains) = (
            found.records.unwrap_or_default(),
            found.chains.unwrap_or_default(),
        );
        let text = format!(
            "All {} records of {chains} chains match their hashes, and the chains their signed heads and each other.",
            count(records)
        );
        return Notice::new("good", "The log is intact", text);
    }
    let finding = found.finding.as_deref().unwrap_or("it failed verification");
    let text = format!(
        "What is stored is not what was written: {finding}. Keep the data folder as it is, and compare it with a backup \
         (keyside audit verify lists what is damaged)."
    );
    Notice::new("bad", "The log is not intact", text)
}

fn filter_form(visit: &Visit, workspace: &Workspace, asked: &Filters) -> FilterForm {
    let events = Event::ALL.into_iter();
    let events = events.map(|event| (event.as_str().to_owned(), record_rows::event(event).word));
    let keys = visit.all_keys(workspace);
    let keys = keys
        .iter()
        .map(|key| (key.id().to_string(), key_choice(visit, key)));
    let reaches = [("all".to_owned(), "Everything you may see".to_owned())];
    let mut reaches = Choice::list(reaches, asked.is_wide.then_some("all"));
    if let Some(narrow) = reaches.first_mut() {
        narrow.label = "This workspace".to_owned();
    }
    let key = asked.key.as_ref().map(CredentialId::as_str);
    let actor = asked.actor.as_ref().map(ActorId::as_str);
    FilterForm {
        events: Choice::list(by_label(events), asked.event.map(Event::as_str)),
        labels: Choice::list(by_label(keys), key),
        actors: Choice::list(by_label(actors(visit, asked)), actor),
        reaches,
        since: text_of(asked.since),
        until: text_of(asked.until),
        active: asked.is_active(),
        clear_href: format!(
            "{}/audit{}",
            visit.base(),
            Filters::default().query(workspace, "", "")
        ),
    }
}

/// Keys of two providers may have the same label.
fn key_choice(visit: &Visit, key: &Listed) -> String {
    let label = record_rows::label(key);
    match key {
        Listed::Known(key) => format!("{label} · {}", visit.provider_name(&key.provider)),
        Listed::Lost(_) => label,
    }
}

/// Those that records may name: by name as far as the person may read tokens.
fn actors(visit: &Visit, asked: &Filters) -> BTreeMap<String, String> {
    let may_read = visit.may(Permission::ReadTokens);
    let tokens = may_read.then(|| visit.state.registry.access().tokens(visit.caller.scope()));
    let tokens = tokens.into_iter().flatten();
    let mut actors: BTreeMap<_, _> = tokens
        .map(|token| (token.id.to_string(), token.name))
        .collect();
    let known = |id: &ActorId, name: &str| (id.to_string(), name.to_owned());
    let others = unnamed().map(|(id, name)| known(&id, name));
    let others = others
        .into_iter()
        .chain([known(&visit.session.actor, "You")]);
    let asked = asked.actor.as_ref().map(|id| known(id, id.as_str()));
    for (id, name) in others.chain(asked) {
        actors.entry(id).or_insert(name);
    }
    actors
}

fn by_label(choices: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut choices: Vec<_> = choices.into_iter().collect();
    choices.sort_by_cached_key(|(_, label)| label.to_lowercase());
    choices
}

/// Rows of a page.
const ROWS: usize = 50;
