//! Names of WebSocket subprotocols.

use std::str::FromStr;

use crate::parsed::from_text;

/// A subprotocol that may be offered to a provider. Only built by parsing, so always a token (RFC
/// 6455 section 4.1).
///
/// Patterns are not allowed: for browsers, which cannot set headers, providers accept a key at the
/// end of a subprotocol's name (`openai-insecure-api-key.…`, `xai-client-secret.…`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subprotocol(String);

impl Subprotocol {
    /// The name. Compared byte for byte.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Subprotocol {
    type Err = SubprotocolError;

    fn from_str(name: &str) -> Result<Self, SubprotocolError> {
        let in_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        match !name.is_empty() && name.bytes().all(in_token) {
            true => Ok(Self(name.to_owned())),
            false => Err(SubprotocolError),
        }
    }
}

from_text!(Subprotocol);

/// The text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the name of a WebSocket subprotocol, such as \"realtime\"")]
pub struct SubprotocolError;
