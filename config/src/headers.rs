//! Names of header fields that several crates use and the `http` crate does not have.

use http::HeaderName;

/// The workspace that a request is for.
pub const WORKSPACE: HeaderName = HeaderName::from_static("x-keyside-workspace");

/// The id of a request: in responses, and in requests to Vault.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-keyside-request-id");

// Fetch Metadata (https://www.w3.org/TR/fetch-metadata/), which browsers send with every request
// to a trustworthy origin.

/// The relation between the page that sends the request and its target.
pub const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether the request navigates, or how a page's script may use the response.
pub const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What the browser uses the response for: a document, an image, a script.
pub const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
