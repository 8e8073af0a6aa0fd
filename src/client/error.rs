//! What the admin API says no to, and what keeps it from being asked.

use std::{error::Error, fmt};

use hyper::StatusCode;
use serde_json::Value;

use super::problem::Problem;

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// No address of an admin API.
    InvalidAddress,
    /// A token that could not stand in a header.
    InvalidToken,
    /// No connection, or one that broke.
    Unreachable {
        /// Who was called.
        base: String,
        /// The innermost reason.
        reason: String,
    },
    /// Connected, and then nothing.
    Timeout {
        /// Who was called.
        base: String,
    },
    /// Something answered that is no admin API.
    NotAdminApi {
        /// Who was called.
        base: String,
        /// What it said.
        status: StatusCode,
    },
    /// The admin API said why not.
    Problem(Box<Problem>),
}

impl ClientError {
    /// hyper's own message is `client error (Connect)`; what a person needs is at the end of the chain.
    pub(super) fn unreachable(base: &str, error: &(dyn Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let reason = innermost.to_string();
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

    /// Whether the admin API said no for this reason: the last part of a problem's `type`.
    pub(crate) fn is(&self, kind: &str) -> bool {
        matches!(self, Self::Problem(problem) if problem.kind() == kind)
    }

    /// What to do about it.
    pub(crate) fn next_step(&self) -> String {
        match self {
            Self::InvalidAddress => "Give one with --admin-url or KEYSIDE_ADMIN_URL, or leave both out to use the settings.".to_owned(),
            Self::InvalidToken => "Give the token that `keyside serve` left in its data folder, on one line.".to_owned(),
            Self::Unreachable { base, .. } if base.starts_with("https:") => {
                "See that it runs there and that its certificate is good; SSL_CERT_FILE names an authority of your own."
                    .to_owned()
            }
            Self::Unreachable { .. } => {
                "Start it with `keyside serve`, or say where it is with --admin-url or KEYSIDE_ADMIN_URL.".to_owned()
            }
            Self::Timeout { .. } => "Look at its log: it may be waiting for its disk.".to_owned(),
            Self::NotAdminApi { .. } => "Give the admin API's own address (admin.listen), not the proxy's.".to_owned(),
            Self::Problem(problem) => problem.next_step(),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidAddress => f.write_str(
                "expected an address such as http://127.0.0.1:7381, found something else",
            ),
            Self::InvalidToken => {
                f.write_str("expected a token, found characters that no token has")
            }
            Self::Unreachable { base, reason } => {
                write!(f, "expected Keyside at {base}, found: {reason}")
            }
            Self::Timeout { base } => {
                write!(f, "expected an answer from {base}, found none in time")
            }
            Self::NotAdminApi { base, status } => {
                write!(
                    f,
                    "expected the admin API at {base}, found something else that answers {status}"
                )
            }
            Self::Problem(problem) => problem.fmt(f),
        }
    }
}
