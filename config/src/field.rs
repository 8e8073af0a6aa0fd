//! Header fields that settings must not take for a purpose of their own.

use http::{HeaderName, header};

/// Whether a field frames or routes a message (RFC 9110 sections 7.2 and 7.6.1, RFC 9112 section 6).
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    let reserved = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    let unlisted = ["keep-alive", "proxy-connection"];
    reserved.contains(name) || unlisted.contains(&name.as_str())
}

/// Whether a field carries a credential for one of the known providers, or for a proxy or a browser.
pub(crate) fn is_credential(name: &HeaderName) -> bool {
    let known = [
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::COOKIE,
    ];
    let unlisted = ["api-key", "x-api-key", "x-goog-api-key"];
    known.contains(name) || unlisted.contains(&name.as_str())
}
