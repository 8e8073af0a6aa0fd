//! The stylesheet, scripts and icon.

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::header;

use super::no_such_page;
use crate::assets;

/// Kept by browsers for a year: another version has another path.
pub(super) async fn show(Path((version, name)): Path<(String, String)>) -> Response {
    let Some(asset) = assets::find(&version, &name) else {
        return no_such_page().await.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, asset.bytes).into_response()
}
