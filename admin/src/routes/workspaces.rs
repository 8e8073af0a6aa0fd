//! `/api/workspaces`: create, list, read and edit workspaces.

pub(crate) mod lifecycle;

use axum::{Json, extract::State, response::Response};
use http::HeaderMap;
use keyside_credentials::{
    LimitsChange, Registry, Workspace, WorkspaceEdit, WorkspaceId, WorkspaceState,
};

use super::Segment;
use crate::{
    access::Caller,
    body::JsonBody,
    concurrency::WorkKind,
    entity_tag::{Lineage, Tagged},
    form,
    paging::Page,
    precondition::IfMatch,
    problem::Problem,
    query::Parameters,
    schemas::queries,
    state::AdminState,
    wire::{self, Limits, UsageView, WorkspaceView},
};

/// Creates a workspace with an encryption key of its own.
#[utoipa::path(
    post, path = "/api/workspaces", tag = "workspaces", operation_id = "createWorkspace",
    request_body = wire::NewWorkspace,
    responses((status = 201, body = WorkspaceView, description = "Created"), (status = 409))
)]
pub(super) async fn create(
    State(state): State<AdminState>,
    caller: Caller,
    body: JsonBody,
) -> Result<Response, Problem> {
    let new = form::read::<wire::NewWorkspace>(body.bytes())?.into();
    let act = caller.context();
    let workspace = state.registry.create_workspace(&act, new).await?;
    let location = format!("/api/workspaces/{}", workspace.id);
    Ok(tagged(&state.registry, workspace).created(&location))
}

/// The workspaces that the caller can access, ordered by id.
#[utoipa::path(
    get, path = "/api/workspaces", tag = "workspaces", operation_id = "listWorkspaces",
    params(queries::Limit, queries::WorkspaceCursor),
    responses((status = 200, body = Page<WorkspaceView>, description = "A page"))
)]
pub(super) async fn list(
    State(state): State<AdminState>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<WorkspaceView>>, Problem> {
    let limit = query.limit();
    let after: Option<WorkspaceId> = query.cursor(|cursor| cursor.parse().ok());
    query.finish()?;
    let _permit = state.acquire(WorkKind::List, &caller).await?;
    let all = state.registry.workspaces(caller.scope()).into_iter();
    let rest =
        all.skip_while(|workspace| after.as_ref().is_some_and(|after| workspace.id <= *after));
    let place = |workspace: &Workspace| workspace.id.to_string();
    Ok(Json(Page::first(rest, limit, place, WorkspaceView::of)))
}

/// One workspace.
#[utoipa::path(
    get, path = "/api/workspaces/{id}", tag = "workspaces", operation_id = "getWorkspace",
    params(("id" = String, Path)),
    responses((status = 200, body = WorkspaceView, description = "The workspace"), (status = 304, description = "Unchanged"))
)]
pub(super) async fn show(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let workspace = caller.workspace(&state.registry, &id)?;
    Ok(tagged(&state.registry, workspace).read(&headers))
}

/// Edits a workspace: what its requests may spend.
#[utoipa::path(
    patch, path = "/api/workspaces/{id}", tag = "workspaces", operation_id = "changeWorkspace",
    params(("id" = String, Path), queries::IfMatchRequired), request_body = wire::WorkspaceEdit,
    responses((status = 200, body = WorkspaceView, description = "Changed"), (status = 404), (status = 409))
)]
pub(super) async fn update(
    State(state): State<AdminState>,
    caller: Caller,
    Segment(id): Segment,
    seen: IfMatch,
    body: JsonBody,
) -> Result<Tagged<WorkspaceView>, Problem> {
    let workspace = caller.workspace(&state.registry, &id)?;
    let lineage = Lineage::of_workspace(&state.registry, workspace.incarnation);
    seen.required(lineage)?;
    let edit = form::read(body.bytes())?;
    let edited = edited(&state, &caller, &workspace, seen, edit).await?;
    Ok(tagged(&state.registry, edited))
}

/// Edits a workspace that is in the state that the person saw.
///
/// # Errors
/// 412 if it is in another one; the changes are not valid, or storage failed.
pub(crate) async fn edited(
    state: &AdminState,
    caller: &Caller,
    workspace: &Workspace,
    seen: IfMatch,
    wire::WorkspaceEdit { limits }: wire::WorkspaceEdit,
) -> Result<Workspace, Problem> {
    let (registry, incarnation) = (&state.registry, workspace.incarnation);
    let revision = seen.expected(Lineage::of_workspace(registry, incarnation));
    let edit = WorkspaceEdit {
        limits: limits.map_or_else(LimitsChange::default, wire::LimitsEdit::into_domain),
        expected: revision.map(|revision| WorkspaceState {
            incarnation,
            revision,
        }),
    };
    let by = caller.context();
    Ok(registry.edit_workspace(&by, &workspace.id, edit).await?)
}

/// The workspace's view with its entity tag.
pub(crate) fn tagged(registry: &Registry, workspace: Workspace) -> Tagged<WorkspaceView> {
    Tagged {
        lineage: Lineage::of_workspace(registry, workspace.incarnation),
        revision: workspace.revision,
        view: WorkspaceView::of(workspace),
    }
}

impl WorkspaceView {
    fn of(workspace: Workspace) -> Self {
        Self {
            id: workspace.id,
            name: workspace.name,
            limits: Limits::of(workspace.limits),
            usage: workspace.usage.map(UsageView::of),
            created_by: workspace.created_by,
            created_at: workspace.created_at,
            damaged: workspace.damaged,
        }
    }
}
