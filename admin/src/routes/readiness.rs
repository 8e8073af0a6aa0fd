//! `/api/integrations/readiness`: what an application asks before it shows a step that needs a
//! provider.

use std::collections::BTreeSet;

use axum::{extract::State, response::Response};
use http::HeaderMap;
use keyside_config::{AdminPage, Catalogue, ProviderId};
use keyside_credentials::{Readiness, ReadinessStatus, WorkspaceId};

use crate::{
    access::Caller,
    entity_tag::{Lineage, Tagged},
    paging::Page,
    problem::Problem,
    query::Parameters,
    schemas::queries,
    state::AdminState,
    wire::{self, ReadinessView},
};

/// Whether a workspace can use each of these providers, in their order. Reads from memory; with
/// `If-None-Match` it can be asked before every page.
#[utoipa::path(
    get, path = "/api/integrations/readiness", tag = "credentials", operation_id = "getReadiness",
    params(queries::ReadinessQuery, queries::IfNoneMatch),
    responses((status = 200, body = Page<ReadinessView>, description = "All of them"), (status = 304, description = "Unchanged"), (status = 404))
)]
pub(super) async fn show(
    State(state): State<AdminState>,
    caller: Caller,
    mut query: Parameters,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id: Option<WorkspaceId> = query.required("workspaceId", wire::parsed);
    let providers = query.optional("providers", |text| listed(&state.catalogue, text));
    query.finish()?;
    let id = id.ok_or_else(Problem::workspace_unknown)?;
    let workspace = caller.workspace(&state.registry, id.as_str())?;
    let found = state.registry.readiness(&id, providers.as_deref());
    let view = |one| view(&state.public_url, &id, one);
    let tagged = Tagged {
        lineage: Lineage::of_workspace(&state.registry, workspace.incarnation),
        revision: workspace.revision,
        view: Page::complete(found.into_iter().map(view).collect()),
    };
    Ok(tagged.read(&headers))
}

fn view(public_url: &str, workspace: &WorkspaceId, found: Readiness) -> ReadinessView {
    let page = match (found.status, &found.decided_by) {
        (ReadinessStatus::Ready, _) => None,
        (ReadinessStatus::Revoked, _) | (_, None) => Some(AdminPage::NewKey),
        (_, Some(_)) => Some(AdminPage::Keys),
    };
    let link = |page: AdminPage| {
        let (workspace, provider) = (Some(workspace.as_str()), Some(found.provider.as_str()));
        page.url(public_url, workspace, provider)
    };
    let remediation = page.map(link);
    let (environment, label) = found.decided_by.unzip();
    ReadinessView {
        status: found.status,
        provider: found.provider,
        environment,
        label,
        remediation,
    }
}

/// The providers of a list with commas. Repeated ones count once.
fn listed(catalogue: &Catalogue, text: &str) -> Result<Vec<ProviderId>, String> {
    let mut seen = BTreeSet::new();
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| seen.insert(*name));
    let known = names.map(|name| catalogue.get(name).map(|known| known.id.clone()));
    let known: Option<Vec<_>> = known.take(PROVIDERS_MAX + 1).collect();
    match known {
        Some(known) if known.len() <= PROVIDERS_MAX => Ok(known),
        Some(_) => Err(format!("expected at most {PROVIDERS_MAX} providers")),
        None => Err("expected ids of the catalogue with commas between them".to_owned()),
    }
}

/// Four times as many as the catalogue has built in.
const PROVIDERS_MAX: usize = 64;
