//! Erases the workspace, after showing what goes and what stays; then shows the receipt.

use askama::Template;
use axum::response::Response;
use keyside_credentials::{Listed, Receipt, Scope, Workspace};

use super::asked;
use crate::{
    pages::{
        confirm::{Confirm, confirmed},
        form::SessionForm,
        html::page,
        number::count,
        shell::{Shell, Visit},
    },
    precondition::IfMatch,
    problem::Problem,
    query::Parameters,
    routes::workspaces::lifecycle::erased,
};

#[derive(Template)]
#[template(path = "erased.html")]
struct Erased {
    shell: Shell,
    workspace: String,
    receipt: String,
}

pub(in crate::pages) async fn show(
    visit: Visit,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let workspace = asked(&visit, parameters)?.ok_or_else(Problem::workspace_unknown)?;
    confirm(&visit, &workspace).page(&visit)
}

/// Erases the workspace of the page's address. Sent again, the form gets the same receipt: an
/// erasure that could not be finished is asked for again like that.
pub(in crate::pages) async fn erase(
    visit: Visit,
    mut parameters: Parameters,
    SessionForm(fields): SessionForm,
) -> Result<Response, Problem> {
    let id = parameters.required("workspace", |text| Ok(text.to_owned()));
    parameters.finish()?;
    let id = id.ok_or_else(Problem::workspace_unknown)?;
    let id = visit.caller.workspace_id(&id)?;
    if let Err(problem) = confirmed(&visit, &fields, id.as_str(), WHAT).await {
        let workspace = visit.caller.workspace(&visit.state.registry, id.as_str())?;
        let typed = fields.text("typed");
        return Err(confirm(&visit, &workspace).again(&visit, problem, typed));
    }
    let receipt = erased(&visit.state, &visit.caller, id.as_str(), IfMatch::Absent).await?;
    receipt_page(&visit, &receipt)
}

fn receipt_page(visit: &Visit, receipt: &Receipt) -> Result<Response, Problem> {
    let json = serde_json::to_string_pretty(receipt);
    let json = json.map_err(|error| Problem::internal(error.to_string()))?;
    let shown = visit.workspace(None)?;
    page(&Erased {
        shell: visit.shell("/workspaces", shown.as_ref()),
        workspace: receipt.workspace.to_string(),
        receipt: json,
    })
}

fn confirm(visit: &Visit, workspace: &Workspace) -> Confirm {
    Confirm {
        title: format!("Erase the workspace {}", workspace.id),
        action: visit.address("/workspace/erase", &workspace.id),
        back_href: visit.address("/workspace", &workspace.id),
        back_label: workspace.name.clone(),
        warning: "Requests of this workspace fail from then on. Nobody can bring it back, and no backup of this installation is changed.",
        goes: goes(visit, workspace),
        stays: &STAYS,
        expect: workspace.id.to_string(),
        expect_what: WHAT,
        button: "Erase for good",
        workspace: Some(workspace.clone()),
    }
}

fn goes(visit: &Visit, workspace: &Workspace) -> Vec<String> {
    let registry = &visit.state.registry;
    let keys = visit.all_keys(workspace);
    let is_stored = |key: &&Listed| match key {
        Listed::Known(key) => key.declared.is_none(),
        Listed::Lost(_) => true,
    };
    let stored = keys.iter().filter(is_stored).count();
    let of_keys = match stored {
        0 => "No keys: it has none.".to_owned(),
        1 => "1 key, with every version of its secret.".to_owned(),
        stored => format!(
            "{} keys, with every version of their secrets.",
            count(stored as u64)
        ),
    };
    let tokens = registry.access().tokens(visit.caller.scope());
    let is_limited =
        |scope: &Scope| matches!(scope, Scope::Only(only) if only.contains(workspace.id.as_str()));
    let limited = tokens
        .iter()
        .filter(|token| is_limited(&token.scope))
        .count();
    let of_tokens = match limited {
        0 => "No token's access: none is limited to this workspace.".to_owned(),
        1 => "The access of 1 token to it.".to_owned(),
        limited => format!("The access of {} tokens to it.", count(limited as u64)),
    };
    vec![
        of_keys,
        "The keys that seal them: copies of the sealed secrets cannot be opened any more, those in this installation's data included."
            .to_owned(),
        "Its records of runs, its spend caps and its results of checks.".to_owned(),
        of_tokens,
    ]
}

/// What is typed.
const WHAT: &str = "the id of the workspace";

const STAYS: [(&str, &str); 3] = [
    (
        "The audit records",
        "they prove who did what; their sealed details, such as fingerprints, can no longer be opened",
    ),
    (
        "The keys at the provider",
        "Keyside cannot delete them there: do so in the provider's console",
    ),
    (
        "Backups and exports that were made before",
        "they are files outside of this installation: delete them, and do not restore them",
    ),
];
