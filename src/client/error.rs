//! Errors of the admin API, and of reaching it.

use std::{error::Error, path::PathBuf};

use hyper::StatusCode;
use serde_json::Value;

use super::problem::Problem;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("expected an address such as http://127.0.0.1:7381, found another text")]
    InvalidAddress,
    #[error("expected a token, found characters that no token has")]
    InvalidToken,
    #[error("expected certificate authorities in {}, found: {reason}", path.display())]
    Authorities { path: PathBuf, reason: String },
    #[error("expected Keyside at {base}, found: {reason}")]
    Unreachable { base: String, reason: String },
    #[error("expected a response from {base}, found none in time")]
    Timeout { base: String },
    #[error("expected the admin API at {base}, found another server that answers {status}")]
    NotAdminApi { base: String, status: StatusCode },
    #[error("{0}")]
    Problem(Box<Problem>),
}

impl ClientError {
    /// hyper's own message is `client error (Connect)`; the useful one is the last of the chain.
    pub(super) fn unreachable(base: &str, error: &(dyn Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let mut reason = innermost.to_string();
        // What rustls says of a server that answers in plain http.
        if reason.contains("InvalidContentType") {
            reason = "a server that does not speak TLS there; use http:// if it is on this machine"
                .to_owned();
        }
        Self::Unreachable {
            base: base.to_owned(),
            reason,
        }
    }

    pub(super) fn refused(base: &str, status: StatusCode, body: Option<Value>) -> Self {
        let problem = body.and_then(|body| serde_json::from_value(body).ok());
        match problem {
            Some(problem) if !status.is_success() => Self::Problem(Box::new(problem)),
            _ => Self::NotAdminApi {
                base: base.to_owned(),
                status,
            },
        }
    }

    /// Whether the admin API refused for this reason: the last part of a problem's `type`.
    pub(crate) fn is(&self, kind: &str) -> bool {
        matches!(self, Self::Problem(problem) if problem.kind() == kind)
    }

    pub(crate) fn next_step(&self) -> String {
        let step = match self {
            Self::InvalidAddress => {
                "Give an address with --admin-url or KEYSIDE_ADMIN_URL, or leave both out to use the settings."
            }
            Self::InvalidToken => {
                "Give the token that `keyside serve` left in its data folder, on one line."
            }
            Self::Authorities { .. } => {
                "Name a PEM file with the authority's certificate in --ca-file, KEYSIDE_CA_FILE or egress.ca_file."
            }
            Self::Unreachable { base, .. } if base.starts_with("https:") => {
                "Check that it runs there and that its certificate is valid for this name; --ca-file or SSL_CERT_FILE names a certificate authority of your own."
            }
            Self::Unreachable { .. } => {
                "Start it with `keyside serve`, or give its address with --admin-url or KEYSIDE_ADMIN_URL."
            }
            Self::Timeout { .. } => "Check its log: it may be waiting for its disk.",
            Self::NotAdminApi { .. } => {
                "Give the admin API's own address (admin.listen), not the proxy's."
            }
            Self::Problem(problem) => return problem.next_step(),
        };
        step.to_owned()
    }
}
