//! `/api/master-key`, `/api/backup`: operations on the whole installation.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    response::Response,
};
use http_body_util::channel::{Channel, Sender};
use keyside_credentials::{StorageError, backup::Backup};
use serde::Serialize;
use utoipa::ToSchema;

use super::file;
use crate::{
    access::Caller, concurrency::WorkKind, problem::Problem, rate_limits, schemas::bodies,
    state::AdminState,
};

/// Wraps every key with the new master key, and replaces the key that signs heads. Requests
/// continue meanwhile.
#[utoipa::path(
    post, path = "/api/master-key/rotate", tag = "installation", operation_id = "rotateMasterKey",
    responses((status = 200, body = RotatedView, description = "Rotated"), (status = 409))
)]
pub(super) async fn rotate_master_key(
    State(state): State<AdminState>,
    caller: Caller,
) -> Result<Json<RotatedView>, Problem> {
    let rotated = state.registry.rotate_master_key(&caller.context()).await?;
    Ok(Json(RotatedView {
        master_key: rotated.master_key,
        previous: rotated.previous,
        keys: rotated.keys,
        warnings: rotated.warning.into_iter().collect(),
    }))
}

/// Streams a sealed backup of the whole installation. If it fails on the way, the connection is
/// closed and the file is incomplete.
#[utoipa::path(
    post, path = "/api/backup", tag = "installation", operation_id = "backup",
    responses((status = 200, body = bodies::File, content_type = "application/octet-stream", description = "The backup"))
)]
pub(super) async fn backup(
    State(state): State<AdminState>,
    caller: Caller,
) -> Result<Response, Problem> {
    let permit = state.concurrency.try_acquire(WorkKind::Backup, &caller)?;
    rate_limits::check_audited_read(&state.access_audit, &caller, 1)?;
    let backup = state.registry.backup(&caller.context()).await?;
    let name = format!("{}.keyside", backup.header.id);
    let (to, body) = Channel::new(1);
    tokio::spawn(send(backup, to));
    let response = file::attachment("application/octet-stream", &name, Body::new(body));
    Ok(permit.hold_until_sent(response))
}

/// Stops when the client disconnects.
async fn send(mut backup: Backup, mut to: Sender<Bytes, StorageError>) {
    while let Some(piece) = backup.next().await {
        let sent = match piece {
            Ok(piece) => to.send_data(piece.into()).await,
            Err(error) => return to.abort(error),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The result of rotating the master key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RotatedView {
    /// The id of the new master key.
    master_key: String,
    /// The id of the previous master key.
    previous: String,
    /// The number of keys that were rewrapped.
    keys: usize,
    warnings: Vec<String>,
}
