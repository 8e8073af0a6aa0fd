//! One workspace: its spend caps, the tokens that open it, its export, its key and its end.

mod caps;
pub(super) mod erase;
pub(super) mod revoke_token;
mod tokens;

use askama::Template;
use axum::response::Response;
use keyside_credentials::{Permission, Workspace};

use self::tokens::{TokenForm, TokenRow};
use super::{
    form::{Fields, SessionForm},
    html::{page, see_other},
    meter::Meter,
    number::count,
    shell::{Shell, Visit},
    time::Time,
    view::{Conflict, FieldErrors},
};
use crate::{
    problem::Problem,
    query::Parameters,
    routes::workspaces::{lifecycle, tagged},
};

#[derive(Template)]
#[template(path = "workspace.html")]
struct WorkspacePage {
    shell: Shell,
    can_manage: bool,
    workspace: About,
    /// This page, for its forms.
    here: String,
    etag: String,
    conflict: Option<Conflict>,
    spend: Vec<Meter>,
    caps: Fields,
    tokens: Vec<TokenRow>,
    token: TokenForm,
    /// Of the form that failed.
    errors: FieldErrors,
}

struct About {
    id: String,
    name: String,
    created: Time,
    created_by: String,
}

pub(super) async fn show(visit: Visit, parameters: Parameters) -> Result<Response, Problem> {
    let Some(workspace) = asked(&visit, parameters)? else {
        return Ok(visit.see_other("/workspaces"));
    };
    page(&view(&visit, &workspace))
}

/// Does what the button that was pressed says.
pub(super) async fn change(
    visit: Visit,
    parameters: Parameters,
    SessionForm(fields): SessionForm,
) -> Result<Response, Problem> {
    let workspace = asked(&visit, parameters)?.ok_or_else(Problem::workspace_unknown)?;
    match fields.text("do") {
        "caps" => caps::save(&visit, &workspace, fields).await,
        "token" => tokens::create(&visit, &workspace, fields).await,
        "export" => {
            visit.caller.require(Permission::ExportWorkspace)?;
            lifecycle::exported(visit.state, &visit.caller, workspace.id).await
        }
        "rotate-key" => rotate_key(&visit, &workspace).await,
        _ => Err(Problem::field("do", "is not a button of this page")),
    }
}

async fn rotate_key(visit: &Visit, workspace: &Workspace) -> Result<Response, Problem> {
    visit.caller.require(Permission::RotateWorkspaceKey)?;
    let (act, registry) = (visit.caller.context(), &visit.state.registry);
    let resealed = registry.rotate_workspace_key(&act, &workspace.id).await?;
    let of_keys = |number: usize| match number {
        1 => "1 key".to_owned(),
        number => format!("{} keys", count(number as u64)),
    };
    let mut text = format!("{} encrypted again.", of_keys(resealed.credentials));
    if resealed.damaged > 0 {
        let damaged = of_keys(resealed.damaged);
        text += &format!(" {damaged} could not be opened, and stay as they were.");
    }
    visit.flash("The workspace has a new encryption key", text);
    Ok(see_other(&address(visit, workspace)))
}

/// The workspace of the page's address.
fn asked(visit: &Visit, mut parameters: Parameters) -> Result<Option<Workspace>, Problem> {
    let asked = parameters.text("workspace");
    parameters.finish()?;
    visit.workspace(asked.as_deref())
}

/// The page's own address. It names the workspace: another tab may have chosen another one since.
fn address(visit: &Visit, workspace: &Workspace) -> String {
    visit.address("/workspace", &workspace.id)
}

/// The page before anything is entered.
fn view(visit: &Visit, workspace: &Workspace) -> WorkspacePage {
    let registry = &visit.state.registry;
    let can_manage = visit.may(Permission::ChangeWorkspace);
    let tokens = match can_manage {
        true => tokens::rows(visit, workspace),
        false => Vec::new(),
    };
    WorkspacePage {
        shell: visit.shell("/workspace", Some(workspace)),
        can_manage,
        here: address(visit, workspace),
        etag: tagged(registry, workspace.clone()).tag(),
        conflict: None,
        spend: caps::meters(workspace),
        caps: Fields::stored(&caps::values(workspace)),
        tokens,
        token: TokenForm::new(visit),
        errors: FieldErrors::default(),
        workspace: About {
            id: workspace.id.to_string(),
            name: workspace.name.clone(),
            created: Time::new(Some(workspace.created_at), registry.now()),
            created_by: visit.name_or_id_of(&workspace.created_by),
        },
    }
}
