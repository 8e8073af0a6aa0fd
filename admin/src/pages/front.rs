//! Addresses that lead on to another page of the session.

use axum::{
    extract::{Path, State},
    response::Response,
};
use http::Uri;

use super::{
    gate,
    html::see_other,
    shell::{Visit, query},
};
use crate::{problem::Problem, query::Parameters, state::AdminState};

/// The keys of the workspace that was shown last, or the list of workspaces while there is none.
pub(super) async fn show(visit: Visit) -> Response {
    let is_any = matches!(visit.workspace(None), Ok(Some(_)));
    let page = if is_any { "/keys" } else { "/workspaces" };
    see_other(&format!("{}{page}", visit.base()))
}

/// `/s/<id>` without a slash at the end.
pub(super) async fn lead_in(State(state): State<AdminState>, uri: Uri) -> Response {
    let base = gate::base(&state.site, uri.path());
    see_other(&format!("{base}/"))
}

/// A refusal for want of a key links here. Keys are added with the command line, so the table says
/// how.
pub(super) async fn add(visit: Visit, mut parameters: Parameters) -> Result<Response, Problem> {
    let asked = parameters.filter("workspace", |text| Ok(text.to_owned()));
    let provider = parameters.filter("provider", |text| Ok(text.to_owned()));
    parameters.finish()?;
    let Some(workspace) = visit.workspace(asked.as_deref())? else {
        return Ok(see_other(&format!("{}/workspaces", visit.base())));
    };
    let known = provider.filter(|id| visit.state.catalogue.get(id).is_some());
    let provider = known.as_deref().unwrap_or("PROVIDER");
    let command = format!("keyside key add -w {} -p {provider}", workspace.id);
    visit.flash("Add the key with the command line", command);
    let query = query(&[("workspace", workspace.id.as_ref())]);
    Ok(see_other(&format!("{}/keys{query}", visit.base())))
}

/// One key in the table of its workspace.
pub(super) async fn key(
    visit: Visit,
    Path((_session, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let listed = visit.caller.listed(&visit.state.registry, &id)?;
    let query = query(&[
        ("workspace", listed.workspace().as_ref()),
        ("q", listed.id().as_ref()),
    ]);
    Ok(see_other(&format!("{}/keys{query}", visit.base())))
}
