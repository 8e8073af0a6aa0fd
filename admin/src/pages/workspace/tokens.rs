//! The tokens that open the workspace, and the form that creates one.

use askama::Template;
use axum::response::Response;
use keyside_credentials::{CreatedToken, Permission, Scope, Token, TokenStatus, Workspace};

use super::{Fields, WorkspacePage, view};
use crate::{
    form,
    pages::{
        html::{page, problem_page},
        shell::{self, Shell, Visit},
        time::Time,
        view::{Badge, Described, FieldErrors, text_of},
    },
    problem::Problem,
    routes::tokens::created,
    wire,
};

pub(super) struct TokenRow {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) role: &'static str,
    /// `All`, or the ids.
    pub(super) workspaces: String,
    pub(super) status: Badge,
    pub(super) last_used: Time,
    pub(super) expires: Time,
    /// Whether it is the session's own token.
    pub(super) you: bool,
    pub(super) ended: bool,
    pub(super) can_revoke: bool,
}

pub(super) struct TokenForm {
    pub(super) form: Fields,
    /// The day on which the session's own token expires, which no token that it creates outlives;
    /// empty if it does not expire.
    pub(super) max_expires: String,
    pub(super) roles: Vec<Described>,
}

/// The one page that has a token's text.
#[derive(Template)]
#[template(path = "token_created.html")]
struct TokenCreated<'a> {
    shell: Shell,
    name: &'a str,
    role: &'static str,
    /// To send as bearer token.
    text: &'a str,
    expires: Time,
    warnings: Vec<String>,
}

/// Creates a token for this workspace alone.
pub(super) async fn create(
    visit: &Visit,
    workspace: &Workspace,
    fields: Fields,
) -> Result<Response, Problem> {
    visit.caller.require(Permission::CreateTokens)?;
    let made = match read(workspace, &fields) {
        Ok(new) => created(&visit.state, &visit.caller, new).await,
        Err(problem) => Err(problem),
    };
    match made {
        Ok(made) => show(visit, workspace, &made),
        Err(problem) if problem.errors().is_empty() => Err(problem),
        Err(problem) => {
            let shown = WorkspacePage {
                token: TokenForm::with(visit, fields),
                errors: FieldErrors::of(&problem),
                ..view(visit, workspace)
            };
            Err(problem_page(problem, &shown))
        }
    }
}

fn read(workspace: &Workspace, fields: &Fields) -> Result<wire::NewToken, Problem> {
    let expires_at = ("expiresAt", fields.day("expires"));
    let new: wire::NewToken = form::read(&fields.json_with(&["name", "role"], &[expires_at]))?;
    Ok(wire::NewToken {
        workspaces: Some([workspace.id.clone()].into()),
        ..new
    })
}

fn show(visit: &Visit, workspace: &Workspace, made: &CreatedToken) -> Result<Response, Problem> {
    let now = visit.state.registry.now();
    page(&TokenCreated {
        shell: visit.shell("/workspace", Some(workspace)),
        name: &made.token.name,
        role: shell::role(made.token.role),
        text: &made.text,
        expires: Time::new(made.token.expires_at, now),
        warnings: made.warnings.iter().map(ToString::to_string).collect(),
    })
}

/// The tokens that may open the workspace, and that the person may see.
pub(super) fn rows(visit: &Visit, workspace: &Workspace) -> Vec<TokenRow> {
    let tokens = visit.state.registry.access().tokens(visit.caller.scope());
    let tokens = tokens.into_iter();
    let tokens = tokens.filter(|token| token.scope.holds(&workspace.id));
    tokens.map(|token| row(visit, token)).collect()
}

fn row(visit: &Visit, token: Token) -> TokenRow {
    let now = visit.state.registry.now();
    let ended = token.status != TokenStatus::Active;
    TokenRow {
        you: token.id == visit.session.actor,
        id: token.id.to_string(),
        name: token.name,
        role: shell::role(token.role),
        workspaces: workspaces(&token.scope),
        status: status(token.status),
        last_used: Time::new(token.last_used_at, now),
        expires: Time::new(token.expires_at, now),
        ended,
        can_revoke: !ended && visit.may(Permission::RevokeTokens),
    }
}

fn workspaces(scope: &Scope) -> String {
    match scope {
        Scope::All => "All".to_owned(),
        Scope::Only(only) => {
            let ids: Vec<_> = only.iter().map(AsRef::<str>::as_ref).collect();
            ids.join(", ")
        }
    }
}

fn status(status: TokenStatus) -> Badge {
    match status {
        TokenStatus::Active => Badge::new("good", "good", "Active"),
        TokenStatus::Expired => Badge::bad("Expired"),
        TokenStatus::Revoked => Badge::new("plain", "revoked", "Revoked"),
    }
}

impl TokenForm {
    pub(super) fn new(visit: &Visit) -> Self {
        Self::with(visit, Fields::filled([("role", "editor".to_owned())]))
    }

    fn with(visit: &Visit, form: Fields) -> Self {
        let own = visit.state.registry.access().find(&visit.session.actor);
        let end = own.and_then(|token| token.expires_at);
        Self {
            max_expires: text_of(end.map(|end| end.strftime("%Y-%m-%d"))),
            roles: Described::all(ROLES, form.text("role")),
            form,
        }
    }
}

/// Each role on the wire, for people, and what it may do.
const ROLES: [(&str, &str, &str); 3] = [
    (
        "viewer",
        "Viewer",
        "Sees keys, runs and the audit log. Changes nothing.",
    ),
    (
        "editor",
        "Editor",
        "Adds, rotates and revokes keys, and sends prompts.",
    ),
    (
        "owner",
        "Owner",
        "Does everything in this workspace, also create tokens and erase it.",
    ),
];
