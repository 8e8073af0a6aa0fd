//! The stylesheet, scripts and icon.

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};

use super::no_such_page;
use crate::{
    assets,
    compression::{GZIP, VARY, accepts_gzip},
};

/// Kept by browsers for a year: another version has another path, so there is no entity tag.
pub(super) async fn show(
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(asset) = assets::find(&version, &name) else {
        return no_such_page().await.into_response();
    };
    let common = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, VARY),
    ];
    match accepts_gzip(&headers) {
        true => {
            let encoding = [(header::CONTENT_ENCODING, GZIP)];
            (common, encoding, asset.gzipped.clone()).into_response()
        }
        false => (common, asset.bytes).into_response(),
    }
}
