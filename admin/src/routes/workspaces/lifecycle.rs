//! Operations on a whole workspace: export, erasure and rotation of its key.

use axum::{Json, extract::State, response::Response};
use keyside_credentials::{ChangeError, Receipt, Registry, Workspace, WorkspaceId, WorkspaceState};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    access::Caller,
    concurrency::WorkKind,
    entity_tag::Lineage,
    precondition::IfMatch,
    problem::Problem,
    rate_limits,
    routes::{Segment, file},
    schemas::{bodies, queries},
    state::AdminState,
};

/// Exports a workspace without its secrets, as a tar archive. A POST, because the export is
/// audited.
#[utoipa::path(
    post, path = "/api/workspaces/{id}/export", tag = "workspaces", operation_id = "exportWorkspace",
    params(("id" = String, Path), queries::IfMatch),
    responses((status = 200, body = bodies::File, content_type = "application/x-tar", description = "The archive"))
)]
pub(in crate::routes) async fn export(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    seen: IfMatch,
) -> Result<Response, Problem> {
    let workspace = caller.workspace(&state.registry, &id)?;
    check(&state.registry, &workspace, seen)?;
    exported(state, &caller, workspace.id).await
}

/// The response with the archive of a workspace.
///
/// # Errors
/// 429 if too many exports are in progress; the workspace is gone, or storage failed.
pub(crate) async fn exported(
    state: AdminState,
    caller: &Caller,
    workspace: WorkspaceId,
) -> Result<Response, Problem> {
    let permit = state.concurrency.try_acquire(WorkKind::Export, caller)?;
    rate_limits::check_audited_read(&state.access_audit, caller, 1)?;
    let name = format!("{workspace}.tar");
    let (act, registry) = (caller.context(), state.registry);
    let made =
        permit.run_blocking(async move { registry.export_workspace(&act, &workspace).await });
    let (archive, permit) = made.await?;
    let response = file::attachment("application/x-tar", &name, archive?.into());
    Ok(permit.hold_until_sent(response))
}

/// Erases a workspace permanently: its keys, its records and its runs. `If-Match` is optional. A
/// retry returns the same receipt until a new workspace has the id.
#[utoipa::path(
    delete, path = "/api/workspaces/{id}", tag = "workspaces", operation_id = "eraseWorkspace",
    params(("id" = String, Path), queries::IfMatch),
    responses((status = 200, body = bodies::Receipt, description = "The receipt"))
)]
pub(in crate::routes) async fn erase(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    seen: IfMatch,
) -> Result<Json<Receipt>, Problem> {
    erased(&state, &caller, &id, seen).await.map(Json)
}

/// Erases the workspace with the id of a path. A retry returns the same receipt.
///
/// # Errors
/// 404 if it never existed for the caller, 412 if it is in another state than the one seen, 503 if
/// the erasure is not finished yet.
pub(crate) async fn erased(
    state: &AdminState,
    caller: &Caller,
    id: &str,
    seen: IfMatch,
) -> Result<Receipt, Problem> {
    let id = caller.workspace_id(id)?;
    let act = caller.context();
    let expected = expected(&state.registry, &id, seen);
    let erased = state.registry.erase_workspace(&act, &id, expected);
    erased.await.map_err(|error| match error {
        ChangeError::WorkspaceUnknown => Problem::workspace_unknown(),
        error => error.into(),
    })
}

/// The state that the client expects. The registry compares it under the workspace's lock.
fn expected(registry: &Registry, id: &WorkspaceId, seen: IfMatch) -> Option<WorkspaceState> {
    let there = registry.workspace(id);
    let incarnation = there.map_or(0, |workspace| workspace.incarnation);
    let revision = seen.expected(Lineage::of_workspace(registry, incarnation))?;
    Some(WorkspaceState {
        incarnation,
        revision,
    })
}

/// Checks `If-Match` for operations that destroy nothing. It runs before the workspace is locked: a
/// change in between does no harm to an export or a rotation.
fn check(registry: &Registry, workspace: &Workspace, seen: IfMatch) -> Result<(), Problem> {
    let lineage = Lineage::of_workspace(registry, workspace.incarnation);
    seen.check(lineage, workspace.revision)
}

/// Creates a new key for a workspace and reseals all of its secrets.
#[utoipa::path(
    post, path = "/api/workspaces/{id}/rotate-key", tag = "workspaces", operation_id = "rotateWorkspaceKey",
    params(("id" = String, Path), queries::IfMatch),
    responses((status = 200, body = ResealedView, description = "Rotated"), (status = 409))
)]
pub(in crate::routes) async fn rotate_key(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    seen: IfMatch,
) -> Result<Json<ResealedView>, Problem> {
    let workspace = caller.workspace(&state.registry, &id)?;
    check(&state.registry, &workspace, seen)?;
    let (act, registry) = (caller.context(), &state.registry);
    let resealed = registry.rotate_workspace_key(&act, &workspace.id).await?;
    Ok(Json(ResealedView {
        workspace_id: resealed.workspace,
        key: resealed.key,
        credentials: resealed.credentials,
        damaged: resealed.damaged,
    }))
}

/// The result of rotating the key of a workspace.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::routes) struct ResealedView {
    #[schema(value_type = String)]
    workspace_id: WorkspaceId,
    /// The id of the new key.
    key: String,
    /// The number of credentials that were resealed.
    credentials: usize,
    /// The number of credentials that could not be opened and are unchanged.
    damaged: usize,
}
