//! `/openapi.json`: the description of the API.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;

use crate::state::AdminState;

/// The OpenAPI description of the API.
#[utoipa::path(
    get, path = "/openapi.json", tag = "catalogue", operation_id = "describeApi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
pub(super) async fn show(State(state): State<AdminState>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, (state.description)()).into_response()
}
