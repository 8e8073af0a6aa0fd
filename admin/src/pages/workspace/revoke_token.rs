//! Revokes a token, after asking once more.

use axum::{extract::Path, response::Response};
use keyside_credentials::{Scope, Token};

use crate::{
    pages::{
        confirm::{Confirm, confirmed},
        form::SessionForm,
        html::see_other,
        shell::{Visit, query},
    },
    problem::Problem,
};

pub(in crate::pages) async fn show(
    visit: Visit,
    Path((_session, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let token = visit.caller.token(&visit.state.registry, &id)?;
    confirm(&visit, &token)?.page(&visit)
}

pub(in crate::pages) async fn revoke(
    visit: Visit,
    Path((_session, id)): Path<(String, String)>,
    SessionForm(fields): SessionForm,
) -> Result<Response, Problem> {
    let registry = &visit.state.registry;
    let token = visit.caller.token(registry, &id)?;
    if let Err(problem) = confirmed(&visit, &fields, token.name.trim(), WHAT).await {
        return Err(confirm(&visit, &token)?.again(&visit, problem, fields.text("typed")));
    }
    let (act, scope) = (visit.caller.context(), visit.caller.scope());
    let revoked = registry.revoke_token(&act, scope, &token.id, None).await?;
    visit.flash(
        "Token revoked",
        format!("{} no longer opens anything.", revoked.name),
    );
    Ok(see_other(&back(&visit, &token)?))
}

/// The page of a workspace of the token: the one that was shown last, if the token opens it.
fn back(visit: &Visit, token: &Token) -> Result<String, Problem> {
    let shown = visit.workspace(None)?;
    let shown = shown.map(|workspace| workspace.id);
    let shown = shown.filter(|id| token.scope.holds(id));
    let first = match &token.scope {
        Scope::All => None,
        Scope::Only(only) => only.first().cloned(),
    };
    let id = shown.or(first);
    let id = id.as_ref().map_or("", |id| id.as_str());
    Ok(format!(
        "{}/workspace{}",
        visit.base(),
        query(&[("workspace", id)])
    ))
}

fn confirm(visit: &Visit, token: &Token) -> Result<Confirm, Problem> {
    let mut goes = vec![
        "The access of everyone and everything that sends it, at once.".to_owned(),
        "The sessions of this page that were opened with it.".to_owned(),
    ];
    if token.id == visit.session.actor {
        goes.push("Your own session: this is the token that you signed in with.".to_owned());
    }
    Ok(Confirm {
        title: format!("Revoke the token {}", token.name),
        action: format!("{}/tokens/{}/revoke", visit.base(), token.id),
        back_href: back(visit, token)?,
        back_label: "Workspace".to_owned(),
        warning: "The token stops working at once and for good. To let somebody in again, create another one.",
        goes,
        stays: &STAYS,
        expect: token.name.trim().to_owned(),
        expect_what: WHAT,
        button: "Revoke for good",
        workspace: visit.workspace(None)?,
    })
}

/// What is typed.
const WHAT: &str = "the name of the token";

const STAYS: [(&str, &str); 2] = [
    (
        "Its name, role and times in the list",
        "so that the audit log can be read later",
    ),
    (
        "The keys that it added, and the tokens that it created",
        "they belong to the workspace; revoke them one by one if you do not trust them",
    ),
];
