//! The header fields that are Keyside's own, and how they are told from others.

use http::HeaderName;

/// Whether a field is one of ours: none of them leaves, and none comes back from an upstream.
pub(crate) fn is_keyside_header(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-keyside-")
}

// What a request may ask for.
pub(crate) const WORKSPACE: HeaderName = HeaderName::from_static("x-keyside-workspace");
pub(crate) const LABEL: HeaderName = HeaderName::from_static("x-keyside-label");
pub(crate) const RUN: HeaderName = HeaderName::from_static("x-keyside-run");
pub(crate) const TAG: HeaderName = HeaderName::from_static("x-keyside-tag");

/// Asked for in a request, told in an answer.
pub(crate) const ENVIRONMENT: HeaderName = HeaderName::from_static("x-keyside-environment");

// What an answer tells.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-keyside-request-id");
pub(crate) const CREDENTIAL: HeaderName = HeaderName::from_static("x-keyside-credential");
pub(crate) const CREDENTIAL_LABEL: HeaderName =
    HeaderName::from_static("x-keyside-credential-label");

/// Browsers say with it that a page is asking (Fetch Metadata).
pub(crate) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
