//! Addresses that lead on to another page of the session.

use axum::{extract::State, response::Response};
use http::Uri;

use super::{gate, html::see_other, shell::Visit};
use crate::state::AdminState;

/// The keys of the workspace that was shown last, or the list of workspaces while there is none.
pub(super) async fn show(visit: Visit) -> Response {
    let is_any = matches!(visit.workspace(None), Ok(Some(_)));
    let page = if is_any { "/keys" } else { "/workspaces" };
    visit.see_other(page)
}

/// `/s/<id>` without a slash at the end.
pub(super) async fn lead_in(State(state): State<AdminState>, uri: Uri) -> Response {
    let base = gate::base(&state.site, uri.path());
    see_other(&format!("{base}/"))
}
