//! Strong entity tags (RFC 9110 section 8.8.3) of single resources.
//!
//! A tag is the revision and a digest of the representation. The digest makes it strong: a status that came with time
//! or a later use changes the bytes, though nobody changed the resource. What a precondition protects is the revision
//! alone (`precondition.rs`), so that the traffic of a key does not keep people from editing it.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A resource's representation with its tag.
pub(crate) struct Tagged<T> {
    pub(crate) revision: u64,
    pub(crate) view: T,
}

impl<T: Serialize> Tagged<T> {
    /// The answer to a read: the representation, or 304 for one that the client has already.
    pub(crate) fn read(self, headers: &HeaderMap) -> Response {
        let tag = self.tag();
        let unchanged = listed(headers, header::IF_NONE_MATCH)
            .any(|known| known == "*" || known.trim_start_matches("W/") == tag);
        match unchanged {
            true => with_tag(StatusCode::NOT_MODIFIED.into_response(), &tag),
            false => self.into_response(),
        }
    }

    /// The answer to a creation: the representation, and where it is from now on.
    pub(crate) fn created(self, location: &str) -> Response {
        let mut response = (StatusCode::CREATED, self).into_response();
        if let Ok(location) = HeaderValue::from_str(location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }

    fn tag(&self) -> String {
        let bytes = serde_json::to_vec(&self.view).unwrap_or_default();
        let digest = Sha256::digest(bytes);
        let digest: String = digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("\"{}-{digest}\"", self.revision)
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let tag = self.tag();
        with_tag(Json(self.view).into_response(), &tag)
    }
}

fn with_tag(mut response: Response, tag: &str) -> Response {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The members of a comma-separated header. Our own tags hold no comma.
pub(crate) fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}
