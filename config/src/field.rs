//! Names that are taken: of header fields that frame a message, and of all that can carry a credential.

mod credential;
mod name;

use http::{HeaderName, header};

use self::credential::is_credential;
pub use self::name::NormalName;
use crate::provider::{Auth, Provider};

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

/// What can be a credential's name: what a rule for all providers takes for one, and the names under which the providers
/// of a catalogue take their keys.
///
/// One decision, for what settings must not set and for what a client must not send on, whichever provider it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialNames {
    own: Vec<NormalName<'static>>,
}

impl CredentialNames {
    pub(crate) fn used_by<'a>(providers: impl Iterator<Item = &'a Provider>) -> Self {
        let mut own = Vec::new();
        for provider in providers {
            let name = match &provider.auth {
                Auth::Header { name, .. } => NormalName::of_header(name).into_owned(),
                Auth::Query { name } => NormalName::of_text(name),
            };
            if !is_credential(&name) && !own.contains(&name) {
                own.push(name);
            }
        }
        Self { own }
    }

    /// Whether a header field, a trailer or a query parameter of this name can hold one.
    pub fn include(&self, name: &NormalName<'_>) -> bool {
        is_credential(name) || self.own.iter().any(|own| own.is_same_as(name))
    }
}

/// Whether a header field can hold a credential, whichever providers there are.
pub(crate) fn is_credential_header(name: &HeaderName) -> bool {
    is_credential(&NormalName::of_header(name))
}

/// Whether a text can be a parameter's name as it is (RFC 3986 section 2.3).
pub(crate) fn is_parameter(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}
