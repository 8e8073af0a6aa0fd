//! Keyside's own header fields.

use http::HeaderName;

/// Whether the name has Keyside's prefix. Such fields are never forwarded, in either direction.
pub(crate) fn is_keyside_header(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-keyside-")
}

// Read from requests.
pub(crate) const WORKSPACE: HeaderName = HeaderName::from_static("x-keyside-workspace");
pub(crate) const LABEL: HeaderName = HeaderName::from_static("x-keyside-label");
pub(crate) const RUN: HeaderName = HeaderName::from_static("x-keyside-run");
pub(crate) const TAG: HeaderName = HeaderName::from_static("x-keyside-tag");

/// Read from requests and set in responses.
pub(crate) const ENVIRONMENT: HeaderName = HeaderName::from_static("x-keyside-environment");

// Set in responses.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-keyside-request-id");
pub(crate) const CREDENTIAL: HeaderName = HeaderName::from_static("x-keyside-credential");
pub(crate) const CREDENTIAL_LABEL: HeaderName =
    HeaderName::from_static("x-keyside-credential-label");

/// Set by browsers on every request that a page makes (Fetch Metadata).
pub(crate) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
