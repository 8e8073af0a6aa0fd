//! All workspaces that the person may see, and the form that creates one.

use askama::Template;
use axum::response::Response;
use keyside_credentials::{Credential, Permission, Status, Workspace};

use super::{
    form::{Fields, SessionForm},
    html::{page, problem_page, see_other},
    keys::is_rejected,
    pager::Pager,
    shell::{Shell, Visit, query},
    time::Time,
    view::{Badge, FieldErrors, Notice},
};
use crate::{concurrency::WorkKind, form, problem::Problem, query::Parameters, wire};

#[derive(Template)]
#[template(path = "workspaces.html")]
struct Workspaces {
    shell: Shell,
    can_create: bool,
    /// Whether there are workspaces at all.
    any: bool,
    /// What is searched for in names and ids; empty if nothing is.
    q: String,
    workspaces: Vec<Row>,
    pager: Pager,
    form: Fields,
    errors: FieldErrors,
    /// A request named a workspace that does not exist.
    unknown: Option<Notice>,
}

struct Row {
    href: String,
    id: String,
    name: String,
    keys: usize,
    posture: Vec<Badge>,
    created: Time,
}

/// A refusal that names an unknown workspace links here with its id.
pub(super) async fn show(visit: Visit, mut parameters: Parameters) -> Result<Response, Problem> {
    let asked = parameters.text("workspace");
    // The refusal's link names the provider too, which does not matter here.
    let _provider = parameters.text("provider");
    let q = parameters.text("q").unwrap_or_default();
    let number = Pager::read(&mut parameters);
    parameters.finish()?;
    page(&Workspaces {
        unknown: asked.and_then(|id| unknown(&visit, &id)),
        ..view(&visit, q.trim(), number).await?
    })
}

pub(super) async fn create(
    visit: Visit,
    SessionForm(fields): SessionForm,
) -> Result<Response, Problem> {
    visit.caller.require(Permission::CreateWorkspaces)?;
    let created = match form::read::<wire::NewWorkspace>(&fields.json(&["id", "name"])) {
        Ok(new) => add(&visit, new).await,
        Err(problem) => Err(problem),
    };
    match created {
        Ok(workspace) => {
            let text = format!("{} has no keys yet.", workspace.name);
            visit.flash("Workspace created", text);
            Ok(see_other(&visit.address("/keys", &workspace.id)))
        }
        Err(problem) if problem.errors().is_empty() => Err(problem),
        Err(problem) => {
            let shown = Workspaces {
                form: fields,
                errors: FieldErrors::of(&problem),
                ..view(&visit, "", 1).await?
            };
            Err(problem_page(problem, &shown))
        }
    }
}

async fn add(visit: &Visit, new: wire::NewWorkspace) -> Result<Workspace, Problem> {
    let (act, registry) = (visit.caller.context(), &visit.state.registry);
    Ok(registry.create_workspace(&act, new.into()).await?)
}

/// Page `number` of the workspaces with `q` in their name or id.
async fn view(visit: &Visit, q: &str, number: usize) -> Result<Workspaces, Problem> {
    let _permit = visit.state.acquire(WorkKind::List, &visit.caller).await?;
    let mut all = visit.state.registry.workspaces(visit.caller.scope());
    let any = !all.is_empty();
    let wanted = q.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    all.retain(|workspace| has(&workspace.name) || has(workspace.id.as_str()));
    let pager = Pager::new(number, all.len(), "workspace", |page| {
        let query = query(&[("q", q), ("page", page)]);
        format!("{}/workspaces{query}", visit.base())
    });
    let rows = pager.rows(&all).iter();
    let workspaces = rows.map(|workspace| row(visit, workspace)).collect();
    let shown = visit.workspace(None)?;
    Ok(Workspaces {
        shell: visit.shell("/workspaces", shown.as_ref()),
        can_create: visit.may(Permission::CreateWorkspaces),
        any,
        q: q.to_owned(),
        workspaces,
        pager,
        form: Fields::default(),
        errors: FieldErrors::default(),
        unknown: None,
    })
}

fn row(visit: &Visit, workspace: &Workspace) -> Row {
    let keys = visit.keys(workspace);
    let with = |status: Status| keys.iter().filter(|key| key.status == status).count();
    let posture = [(Status::Expiring, "expiring"), (Status::Expired, "expired")]
        .into_iter()
        .map(|(status, word)| (status, with(status), word))
        .filter(|(_, count, _)| *count > 0)
        .map(|(status, count, word)| Badge {
            word: format!("{count} {word}"),
            ..Badge::status(status)
        });
    let is_used = |key: &&Credential| matches!(key.status, Status::Active | Status::Expiring);
    let rejected = keys.iter().filter(is_used).filter(|key| is_rejected(key));
    let rejected = Some(rejected.count()).filter(|count| *count > 0);
    let rejected = rejected.map(|count| Badge::bad(format!("{count} rejected")));
    let in_use = keys.iter().filter(|key| key.status != Status::Revoked);
    Row {
        href: visit.address("/keys", &workspace.id),
        id: workspace.id.to_string(),
        name: workspace.name.clone(),
        keys: in_use.count(),
        posture: rejected.into_iter().chain(posture).collect(),
        created: Time::new(Some(workspace.created_at), visit.state.registry.now()),
    }
}

/// Says that the workspace of a refused request does not exist for this person.
fn unknown(visit: &Visit, id: &str) -> Option<Notice> {
    let exists = visit.caller.workspace(&visit.state.registry, id).is_ok();
    let text =
        "Correct the request's X-Keyside-Workspace header or its path, or create the workspace.";
    (!exists).then(|| Notice::new("warn", "A request named a workspace that is not here", text))
}
