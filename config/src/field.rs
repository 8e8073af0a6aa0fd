//! Names that are taken: of header fields that frame a message, and of all that can carry a credential.

use http::{HeaderName, header};

use crate::{Auth, Provider};

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

/// The names under which a request can carry a credential: those that are known to be used so, and those under which the
/// providers of a catalogue take their keys.
///
/// One list, for what settings must not set and for what a client must not send on, whichever provider it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialNames {
    headers: Vec<HeaderName>,
    parameters: Vec<String>,
}

impl CredentialNames {
    pub(crate) fn used_by<'a>(providers: impl Iterator<Item = &'a Provider>) -> Self {
        let (mut headers, mut parameters) = (Vec::new(), Vec::new());
        for provider in providers {
            match &provider.auth {
                Auth::Header { name, .. } if is_credential(name) => {}
                Auth::Header { name, .. } => headers.push(name.clone()),
                Auth::Query { name } => parameters.push(name.clone()),
            }
        }
        Self {
            headers,
            parameters,
        }
    }

    /// Whether a header field can hold one.
    pub fn has_header(&self, name: &HeaderName) -> bool {
        is_credential(name) || self.headers.contains(name)
    }

    /// Whether a parameter of a query can hold one. `name` is unescaped; its case does not matter.
    pub fn has_parameter(&self, name: &[u8]) -> bool {
        let own = self.parameters.iter().map(String::as_str);
        let mut names = PARAMETERS.iter().copied().chain(own);
        names.any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
    }
}

/// Whether a header field is known to hold a credential: some provider's, a proxy's or a browser's.
pub(crate) fn is_credential(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::AUTHORIZATION | header::PROXY_AUTHORIZATION | header::COOKIE
    ) || matches!(
        name.as_str(),
        "api-key"
            | "ocp-apim-subscription-key"
            | "x-amz-security-token"
            | "x-api-key"
            | "x-auth-token"
            | "x-goog-api-key"
    )
}

/// Whether a text can be a parameter's name as it is (RFC 3986 section 2.3).
pub(crate) fn is_parameter(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// Parameters in which some provider takes a credential.
const PARAMETERS: [&str; 6] = [
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "key",
    "oauth_token",
];
