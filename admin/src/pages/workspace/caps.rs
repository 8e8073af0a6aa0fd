//! Spend caps: what is spent today, and the form that changes the caps.

use axum::response::Response;
use keyside_credentials::{
    Permission, Workspace,
    audit::{AuditFilter, Event},
};

use super::{Fields, WorkspacePage, address, view};
use crate::{
    form,
    pages::{
        form::StoredValue,
        html::{problem_page, see_other},
        meter::Meter,
        shell::Visit,
        time::Time,
        view::{Conflict, FieldErrors, text_of},
    },
    precondition::IfMatch,
    problem::{Kind, Problem},
    routes::workspaces::edited,
    wire,
};

pub(super) async fn save(
    visit: &Visit,
    workspace: &Workspace,
    fields: Fields,
) -> Result<Response, Problem> {
    visit.caller.require(Permission::ChangeWorkspace)?;
    let edited = match read(&fields) {
        Ok(limits) => {
            let edit = wire::WorkspaceEdit {
                limits: Some(limits),
            };
            let seen = IfMatch::of_form(fields.text("etag"));
            edited(&visit.state, &visit.caller, workspace, seen, edit).await
        }
        Err(problem) => Err(problem),
    };
    let problem = match edited {
        Ok(_) => {
            let text = "New requests are counted against them at once.";
            visit.flash("Spend caps saved", text);
            return Ok(see_other(&address(visit, workspace)));
        }
        Err(problem) => problem,
    };
    let is_superseded = problem.kind() == Kind::PreconditionFailed;
    if !is_superseded && problem.errors().is_empty() {
        return Err(problem);
    }
    let mut shown = WorkspacePage {
        errors: FieldErrors::of(&problem),
        ..view(visit, workspace)
    };
    match is_superseded {
        true => {
            shown.conflict = Some(conflict(visit, workspace, &fields).await?);
            shown.caps = fields.made_for(&values(workspace));
        }
        // The person was told of no change, so the form stays one of the state that it was made for.
        false => {
            fields.text("etag").clone_into(&mut shown.etag);
            shown.caps = fields;
        }
    }
    Err(problem_page(problem, &shown))
}

/// Both caps, by the rules of the API. An empty field is no cap.
fn read(fields: &Fields) -> Result<wire::LimitsEdit, Problem> {
    let others = [REQUESTS, TOKENS].map(|name| (name, fields.number(name)));
    form::read(&fields.json_with(&[], &others))
}

/// Who changed the caps, and what they are now. The form says what they were.
async fn conflict(
    visit: &Visit,
    workspace: &Workspace,
    fields: &Fields,
) -> Result<Conflict, Problem> {
    let filter = AuditFilter {
        event: Some(Event::WorkspaceEdited),
        ..visit.records_of(&workspace.id)
    };
    let last = visit.newest(1, &filter).await?.pop();
    let actor = last.as_ref().map(|record| &record.actor);
    Ok(Conflict {
        name: text_of(actor.map(|actor| visit.you_or_name_of(actor))),
        actor: text_of(actor),
        at: Time::new(
            last.as_ref().map(|record| record.at),
            visit.state.registry.now(),
        ),
        what: fields.changes("no cap", &values(workspace)),
        advice: "The form has what you changed, and the rest as it is stored now. Save again if that is right.",
    })
}

/// The caps; an empty one is none.
pub(super) fn values(workspace: &Workspace) -> [StoredValue; 2] {
    let limits = workspace.limits;
    let [requests, tokens] = [limits.requests_per_day, limits.tokens_per_day].map(text_of);
    [
        StoredValue::new("Requests a day", REQUESTS, "seenRequests", requests),
        StoredValue::new("Tokens a day", TOKENS, "seenTokens", tokens),
    ]
}

/// What was spent today of each cap.
pub(super) fn meters(workspace: &Workspace) -> Vec<Meter> {
    let (limits, usage) = (workspace.limits, workspace.usage);
    let requests = usage.and_then(|usage| usage.requests_today);
    let tokens = usage.and_then(|usage| usage.tokens_today);
    let rows = [
        ("Requests today", requests, limits.requests_per_day),
        ("Tokens today", tokens, limits.tokens_per_day),
    ];
    let meters = rows.into_iter().filter_map(|(what, spent, cap)| {
        let spent = spent.unwrap_or_default();
        Some(Meter::new(what, spent, cap?.get()))
    });
    meters.collect()
}

const REQUESTS: &str = "requestsPerDay";

const TOKENS: &str = "tokensPerDay";
