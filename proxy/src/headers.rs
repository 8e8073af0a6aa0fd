//! Keyside's own header fields.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Whether the name has Keyside's prefix. Such fields are never forwarded, in either direction.
pub(crate) fn is_keyside_header(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-keyside-")
}

/// A label as a header value, percent-encoded where it must be.
pub(crate) fn encode_label(label: &str) -> Cow<'_, str> {
    utf8_percent_encode(label, NOT_IN_A_HEADER).into()
}

/// The label of a header value; `None` if it is not UTF-8.
pub(crate) fn decode_label(value: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(value).decode_utf8().ok()
}

/// Control characters, which a header value cannot contain, and `%` itself. All characters outside
/// ASCII are encoded too.
const NOT_IN_A_HEADER: &AsciiSet = &CONTROLS.add(b'%');

/// Keyside's `User-Agent`, in requests that it makes itself.
pub(crate) const OWN_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("keyside/", env!("CARGO_PKG_VERSION")));

// Read from requests, besides the workspace.
pub(crate) const LABEL: HeaderName = HeaderName::from_static("x-keyside-label");
pub(crate) const RUN: HeaderName = HeaderName::from_static("x-keyside-run");
pub(crate) const TAG: HeaderName = HeaderName::from_static("x-keyside-tag");

/// Read from requests and set in responses.
pub(crate) const ENVIRONMENT: HeaderName = HeaderName::from_static("x-keyside-environment");

// Set in responses, besides the request id.
pub(crate) const CREDENTIAL: HeaderName = HeaderName::from_static("x-keyside-credential");
pub(crate) const CREDENTIAL_LABEL: HeaderName =
    HeaderName::from_static("x-keyside-credential-label");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_as_it_was_written() {
        for label in ["prod", "100%", "QA caf\u{e9}", "%41", "a\tb"] {
            let value = encode_label(label);
            assert!(
                value.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                "{value}"
            );
            assert_eq!(decode_label(&value).as_deref(), Some(label));
        }
        assert_eq!(decode_label("%ff"), None);
    }
}
