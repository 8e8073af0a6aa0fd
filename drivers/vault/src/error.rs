//! Errors of calls to Vault, with the setting and the remedy. None contains a secret.

use std::fmt;

use keyside_credentials::source::SourceError;
use serde::{Deserialize, de::IgnoredAny};

/// Why a call to Vault failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// A setting, or a file that it names, cannot be used.
    #[error("{0}")]
    Settings(String),
    /// No response: no connection, or a timeout.
    #[error("{0}")]
    Unreachable(String),
    /// TLS failed: the server does not speak it, or shows a certificate that the settings do not
    /// trust.
    #[error("{0}")]
    Tls(String),
    /// There is no token: Vault refused the sign-in, or its credential is missing.
    #[error("{0}")]
    SignIn(String),
    /// Vault responded with an error status.
    #[error("Vault answered {0}")]
    ErrorResponse(ErrorResponse),
    /// The response is not from Vault, or in a form that Keyside does not know.
    #[error(
        "the response to {0} is not from Vault: check vault.address, and a gateway before Vault if there is one"
    )]
    Malformed(String),
}

/// A response with an error status.
#[derive(Clone, Debug)]
pub struct ErrorResponse {
    /// The HTTP status.
    pub status: u16,
    /// Method and path, without `/v1/`.
    pub request: String,
    /// Vault's `errors`, each truncated for a log line.
    pub errors: Vec<String>,
}

impl VaultError {
    /// Whether Vault is unavailable: the call is worth a retry, and says nothing about the
    /// requested resource.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::ErrorResponse(answered) => is_unavailable(answered.status),
            _ => true,
        }
    }

    /// Whether waiting may fix it, without anyone changing settings, a policy or the credential for
    /// signing in.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::ErrorResponse(answered) => is_unavailable(answered.status),
            Self::Settings(_) | Self::Tls(_) | Self::SignIn(_) | Self::Malformed(_) => false,
        }
    }

    /// The status of Vault's response.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::ErrorResponse(answered) => Some(answered.status),
            _ => None,
        }
    }
}

impl From<VaultError> for SourceError {
    fn from(error: VaultError) -> Self {
        match error.is_unavailable() {
            true => Self::Unavailable(error.to_string()),
            false => Self::Gone(error.to_string()),
        }
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}{}", self.status, self.request, self.details())
    }
}

impl ErrorResponse {
    pub(crate) fn new(status: u16, request: String, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Envelope {
            errors: Vec<String>,
        }
        let errors = serde_json::from_slice::<Envelope>(body);
        let errors = match errors {
            Ok(envelope) => envelope.errors,
            // Go's TLS listener responds with this before Vault's own code runs.
            Err(_) if body.starts_with(PLAINTEXT_TO_TLS) => {
                vec!["this port speaks TLS; use https:// in vault.address".to_owned()]
            }
            Err(_) => Vec::new(),
        };
        Self {
            status,
            request,
            errors: errors.iter().map(|error| single_line(error)).collect(),
        }
    }

    /// Vault's errors, and an explanation of the status where one helps; begins with `: `, or is
    /// empty.
    fn details(&self) -> String {
        let meaning = match self.status {
            300..=399 => {
                Some("a standby that forwards no requests: name the active node in vault.address")
            }
            429 => Some("too many requests, or a standby"),
            472 | 473 => Some("a standby"),
            501 => Some("not initialized"),
            503 if self.errors.is_empty() => Some("sealed, or in maintenance"),
            _ => None,
        };
        let mut parts: Vec<&str> = self.errors.iter().map(String::as_str).collect();
        parts.extend(meaning);
        match parts.is_empty() {
            true => String::new(),
            false => format!(": {}", parts.join("; ")),
        }
    }
}

/// Whether a status is about the server and not about the requested resource. 412 means that a
/// standby has not yet seen the write of the token.
pub(crate) fn is_unavailable(status: u16) -> bool {
    matches!(status, 300..=399 | 408 | 412 | 425 | 429 | 472 | 473 | 500..)
}

/// Whether the body of an error response is from Vault. A gateway before Vault may respond with a
/// 403 or 404 of its own while it has no backend, which says nothing about a secret.
pub(crate) fn is_from_vault(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Option<IgnoredAny>,
        /// A secrets engine's own response, such as the metadata of a deleted version.
        data: Option<IgnoredAny>,
        /// If that has only warnings, such as for a path that KV version 2 does not know.
        request_id: Option<IgnoredAny>,
    }
    let envelope = serde_json::from_slice::<Envelope>(body);
    let is_known = |found: Envelope| {
        [found.errors, found.data, found.request_id]
            .iter()
            .any(Option::is_some)
    };
    envelope.is_ok_and(is_known) || body.starts_with(PLAINTEXT_TO_TLS)
}

/// One line of bounded length. Vault puts line breaks and tabs into lists of errors.
pub(crate) fn single_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let shown = line.chars().filter(|c| !c.is_control());
    shown.take(MAX_ERROR_LEN).collect()
}

/// Maximum length of an error text of Vault, in characters.
const MAX_ERROR_LEN: usize = 300;
const PLAINTEXT_TO_TLS: &[u8] = b"Client sent an HTTP request to an HTTPS server";

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> VaultError {
        VaultError::ErrorResponse(ErrorResponse::new(
            status,
            "GET kv/x".to_owned(),
            body.as_bytes(),
        ))
    }

    #[test]
    fn errors_of_vault_are_one_line() {
        let body = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
        assert_eq!(
            answered(403, body).to_string(),
            "Vault answered 403 to GET kv/x: 1 error occurred: * permission denied"
        );
    }

    #[test]
    fn only_a_response_about_the_resource_is_a_refusal() {
        for status in [400, 403, 404, 405] {
            assert!(!answered(status, "").is_unavailable(), "{status}");
        }
        for status in [307, 412, 429, 472, 473, 500, 501, 502, 503] {
            assert!(answered(status, "<html>").is_unavailable(), "{status}");
        }
    }

    #[test]
    fn waiting_fixes_an_outage_but_no_setting() {
        let said = || "said".to_owned();
        assert!(VaultError::Unreachable(said()).is_transient());
        assert!(answered(503, "").is_transient());
        for error in [
            VaultError::Settings(said()),
            VaultError::Tls(said()),
            VaultError::SignIn(said()),
            VaultError::Malformed(said()),
            answered(403, ""),
        ] {
            assert!(!error.is_transient(), "{error:?}");
        }
    }

    #[test]
    fn errors_of_vault_are_told_from_those_of_a_gateway() {
        for body in [
            r#"{"errors":[]}"#,
            r#"{"errors":["permission denied"]}"#,
            r#"{"data":{"data":null,"metadata":{"version":1}}}"#,
            r#"{"request_id":"x","data":null,"warnings":["Invalid path for a versioned K/V secrets engine."]}"#,
            "Client sent an HTTP request to an HTTPS server.\n",
        ] {
            assert!(is_from_vault(body.as_bytes()), "{body}");
        }
        for body in [
            "",
            "default backend - 404",
            "<html>",
            r#"{"message":"no Route matched with those values"}"#,
            r#"{"data":null}"#,
            "null",
        ] {
            assert!(!is_from_vault(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn plaintext_to_a_tls_port_is_explained() {
        let error = answered(400, "Client sent an HTTP request to an HTTPS server.\n");
        assert!(error.to_string().contains("vault.address"), "{error}");
    }
}
