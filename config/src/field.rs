//! Reserved names: header fields that frame a message, and header fields and parameters that can
//! carry a credential.

mod credential;
mod name;

use http::{HeaderName, header};

pub(crate) use self::credential::is_credential;
pub use self::name::NormalName;

/// Whether a header field frames or routes a message (RFC 9110 sections 7.2 and 7.6.1, RFC 9112
/// section 6).
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

/// Whether a header field can carry a credential of any provider.
pub(crate) fn is_credential_header(name: &HeaderName) -> bool {
    is_credential(&NormalName::of_header(name))
}

/// Whether a text can be a parameter's name without escaping (RFC 3986 section 2.3).
pub(crate) fn is_parameter(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}
