//! Responses that clients save as files.

use axum::{body::Body, response::Response};
use http::{HeaderValue, header};

/// A response to save as `name`, which must consist of letters, digits, dots and hyphens.
pub(super) fn attachment(media_type: &'static str, name: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
    if let Ok(disposition) = disposition {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}
