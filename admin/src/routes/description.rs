//! `/openapi.json`: what the API says of itself.

use axum::response::{IntoResponse, Response};
use http::header;

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "catalogue", operation_id = "describeApi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
pub(super) async fn show() -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, crate::openapi()).into_response()
}
