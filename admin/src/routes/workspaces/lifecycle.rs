//! What is done to a workspace as a whole: taken away, destroyed, sealed under another key.

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
    routes::{Segment, file},
    schemas::{bodies, queries},
    state::AdminState,
};

/// Everything of a workspace but its secrets, as a tar archive. A POST, because it is put on record.
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
    let workspace = workspace.id;
    let permit = state.concurrency.try_acquire(WorkKind::Export, &caller)?;
    state.limits.check_audited_read(&caller)?;
    let name = format!("{workspace}.tar");
    let (act, registry) = (caller.context(), state.registry);
    let made =
        permit.run_blocking(async move { registry.export_workspace(&act, &workspace).await });
    let (archive, permit) = made.await?;
    let response = file::attachment("application/x-tar", &name, archive?.into());
    Ok(permit.hold_until_sent(response))
}

/// Erases a workspace for good: its keys, its records, its runs. `If-Match` is heeded and not asked for. Asked for again
/// after that, the answer is the same receipt, for as long as no other workspace has the id.
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
    let id = caller.workspace_id(&id)?;
    let act = caller.context();
    let expected = expected(&state.registry, &id, seen);
    let erased = state.registry.erase_workspace(&act, &id, expected);
    let receipt = erased.await.map_err(|error| match error {
        ChangeError::WorkspaceUnknown => Problem::workspace_unknown(),
        error => error.into(),
    });
    Ok(Json(receipt?))
}

/// The state that a workspace is held to. That it is still the same one is for the registry to see, under its lock.
fn expected(registry: &Registry, id: &WorkspaceId, seen: IfMatch) -> Option<WorkspaceState> {
    let there = registry.workspace(id);
    let incarnation = there.map_or(0, |workspace| workspace.incarnation);
    let revision = seen.expected(Lineage::of_workspace(registry, incarnation))?;
    Some(WorkspaceState {
        incarnation,
        revision,
    })
}

/// Holds what takes nothing away to the state that the caller saw. It is looked at before the workspace's lock is held: what
/// comes between changes nothing that a new key or an export would make worse.
fn check(registry: &Registry, workspace: &Workspace, seen: IfMatch) -> Result<(), Problem> {
    let lineage = Lineage::of_workspace(registry, workspace.incarnation);
    seen.check(lineage, workspace.revision)
}

/// Makes a new key for a workspace, and seals everything of it anew.
#[utoipa::path(
    post, path = "/api/workspaces/{id}/rotate-key", tag = "workspaces", operation_id = "rotateWorkspaceKey",
    params(("id" = String, Path), queries::IfMatch),
    responses((status = 200, body = ResealedView, description = "What it came to"), (status = 409))
)]
pub(in crate::routes) async fn rotate_key(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    seen: IfMatch,
) -> Result<Json<ResealedView>, Problem> {
    let workspace = caller.workspace(&state.registry, &id)?;
    check(&state.registry, &workspace, seen)?;
    let resealed = state
        .registry
        .rotate_workspace_key(&caller.context(), &workspace.id)
        .await?;
    Ok(Json(ResealedView {
        workspace_id: resealed.workspace,
        key: resealed.key,
        credentials: resealed.credentials,
        damaged: resealed.damaged,
    }))
}

/// What a new key came to, on the wire.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::routes) struct ResealedView {
    #[schema(value_type = String)]
    workspace_id: WorkspaceId,
    /// The id of the key that seals now.
    key: String,
    /// How many were sealed anew.
    credentials: usize,
    /// How many do not open and were left as they are.
    damaged: usize,
}
