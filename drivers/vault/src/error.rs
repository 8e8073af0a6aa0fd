//! What can go wrong between Keyside and Vault, in sentences that name the setting and the remedy. None holds a secret.

use std::fmt;

use keyside_credentials::source::SourceError;
use serde::Deserialize;

/// Why a call to Vault gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// A setting, or a file that one names, cannot be used.
    #[error("{0}")]
    Settings(String),
    /// No answer came: no connection, no trust, or no time left.
    #[error("{0}")]
    Unreachable(String),
    /// What is reached does not speak TLS as the settings say, or shows a certificate that they do not trust.
    #[error("{0}")]
    Tls(String),
    /// There is no token: Vault does not accept the sign-in, or what signs in is not there.
    #[error("{0}")]
    SignIn(String),
    /// Vault answered with an error status.
    #[error("Vault answered {0}")]
    Answered(Answered),
    /// What answered is not Vault, or says what Keyside does not understand.
    #[error("the answer to {0} is not one of Vault's: check that vault.address is Vault's own")]
    Malformed(String),
}

/// An answer with an error status.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// Method and path, without `/v1/`.
    pub request: String,
    /// What Vault says in `errors`; each cut to a length fit for a log line.
    pub errors: Vec<String>,
}

impl VaultError {
    /// Whether it may pass by itself: the call is worth repeating, and nothing is said about the thing that was asked for.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Answered(answered) => is_away(answered.status),
            _ => true,
        }
    }

    /// Whether waiting may mend it: nobody has to change settings, a policy or what signs in.
    pub fn passes_by_itself(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Answered(answered) => is_away(answered.status),
            Self::Settings(_) | Self::Tls(_) | Self::SignIn(_) | Self::Malformed(_) => false,
        }
    }

    /// The status that Vault answered with.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered(answered) => Some(answered.status),
            _ => None,
        }
    }
}

impl From<VaultError> for SourceError {
    fn from(error: VaultError) -> Self {
        match error.is_away() {
            true => Self::Unavailable(error.to_string()),
            false => Self::Gone(error.to_string()),
        }
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}{}", self.status, self.request, self.said())
    }
}

impl Answered {
    pub(crate) fn new(status: u16, request: String, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Envelope {
            errors: Vec<String>,
        }
        let errors = serde_json::from_slice::<Envelope>(body);
        let errors = match errors {
            Ok(envelope) => envelope.errors,
            // Go's TLS listener answers so before Vault's own code runs.
            Err(_) if body.starts_with(PLAINTEXT_TO_TLS) => {
                vec!["this port speaks TLS; use https:// in vault.address".to_owned()]
            }
            Err(_) => Vec::new(),
        };
        Self {
            status,
            request,
            errors: errors.iter().map(|error| fit_for_a_line(error)).collect(),
        }
    }

    /// What Vault said and what the status means where that is not plain, from `: ` on.
    fn said(&self) -> String {
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

/// Statuses that say something of the server and nothing of the thing that was asked for. 412: a standby has not yet seen
/// the write that the token needs.
pub(crate) fn is_away(status: u16) -> bool {
    matches!(status, 300..=399 | 408 | 412 | 425 | 429 | 472 | 473 | 500..)
}

/// One line of bounded length; Vault puts line breaks and tabs into lists of errors.
pub(crate) fn fit_for_a_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let shown = line.chars().filter(|c| !c.is_control());
    shown.take(LONGEST).collect()
}

const LONGEST: usize = 300;
const PLAINTEXT_TO_TLS: &[u8] = b"Client sent an HTTP request to an HTTPS server";

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> VaultError {
        VaultError::Answered(Answered::new(
            status,
            "GET kv/x".to_owned(),
            body.as_bytes(),
        ))
    }

    #[test]
    fn what_vault_says_is_one_line() {
        let body = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
        assert_eq!(
            answered(403, body).to_string(),
            "Vault answered 403 to GET kv/x: 1 error occurred: * permission denied"
        );
    }

    #[test]
    fn only_an_answer_about_the_thing_itself_is_a_refusal() {
        for status in [400, 403, 404, 405] {
            assert!(!answered(status, "").is_away(), "{status}");
        }
        for status in [307, 412, 429, 472, 473, 500, 501, 502, 503] {
            assert!(answered(status, "<html>").is_away(), "{status}");
        }
    }

    #[test]
    fn waiting_mends_an_outage_and_no_setting() {
        let said = || "said".to_owned();
        assert!(VaultError::Unreachable(said()).passes_by_itself());
        assert!(answered(503, "").passes_by_itself());
        for error in [
            VaultError::Settings(said()),
            VaultError::Tls(said()),
            VaultError::SignIn(said()),
            VaultError::Malformed(said()),
            answered(403, ""),
        ] {
            assert!(!error.passes_by_itself(), "{error:?}");
        }
    }

    #[test]
    fn plaintext_to_a_tls_port_is_told() {
        let error = answered(400, "Client sent an HTTP request to an HTTPS server.\n");
        assert!(error.to_string().contains("vault.address"), "{error}");
    }
}
