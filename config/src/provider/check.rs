//! The cheapest request that checks a key, and how to interpret its response.

use std::str::FromStr;

use http::Method;
use serde::{Deserialize, Serialize};

use super::route;
use crate::parsed;

/// A check. Keyside itself sends it, so its path may be one that clients may not request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "CheckDocument")]
pub struct Check {
    /// Its method.
    pub method: Method,
    /// Its path, with a query if needed, relative to the base URL's path.
    pub path: String,
    /// Its JSON body, if it has one.
    pub body: Option<String>,
    /// Special cases of this provider's responses. The first that matches counts, before the
    /// general rule.
    pub answers: Vec<CheckAnswer>,
    /// An explanation for people, if the special cases need one.
    pub note: String,
}

/// What a response to a check means.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckAnswer {
    /// HTTP status.
    pub status: u16,
    /// Text that the body has to contain, if it matters. White space is ignored, because JSON
    /// allows it anywhere.
    pub contains: Option<String>,
    /// What the response says about the key.
    pub means: Verification,
}

/// What a provider says about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verification {
    /// The provider accepts the key.
    Accepted,
    /// The provider knows the key, but restricts it: something is not permitted, or the budget is
    /// used up.
    Limited,
    /// The provider refuses the key.
    Rejected,
    /// The provider could not be reached, or its response says nothing about the key.
    Unreachable,
}

impl Check {
    /// Interprets a response to the check.
    pub fn read(&self, status: u16, body: &[u8]) -> Verification {
        let special = self.answers.iter().find(|answer| answer.fits(status, body));
        special.map_or_else(|| default_meaning(status), |answer| answer.means)
    }

    /// Whether the meaning of a response with this status depends on its body.
    pub fn needs_body(&self, status: u16) -> bool {
        let of_status = |answer: &CheckAnswer| answer.status == status && answer.contains.is_some();
        self.answers.iter().any(of_status)
    }
}

impl CheckAnswer {
    fn fits(&self, status: u16, body: &[u8]) -> bool {
        let holds = |text: &String| {
            let (body, text) = (without_blanks(body), without_blanks(text.as_bytes()));
            body.windows(text.len().max(1)).any(|part| part == text)
        };
        self.status == status && self.contains.as_ref().is_none_or(holds)
    }
}

fn without_blanks(text: &[u8]) -> Vec<u8> {
    let filled = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    filled.copied().collect()
}

/// The rule for all providers (RFC 9110 section 15.5; 429 is RFC 6585): a provider that asks for
/// payment or for fewer requests has recognised the key.
fn default_meaning(status: u16) -> Verification {
    match status {
        200..=299 => Verification::Accepted,
        401 | 403 => Verification::Rejected,
        402 | 429 => Verification::Limited,
        _ => Verification::Unreachable,
    }
}

impl Verification {
    /// The name in API responses and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Limited => "limited",
            Self::Rejected => "rejected",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A check as written in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckDocument {
    #[serde(deserialize_with = "parsed::text")]
    request: Request,
    body: Option<String>,
    #[serde(default)]
    answers: Vec<CheckAnswer>,
    #[serde(default)]
    note: String,
}

impl From<CheckDocument> for Check {
    fn from(
        CheckDocument {
            request,
            body,
            answers,
            note,
        }: CheckDocument,
    ) -> Self {
        let Request { method, path } = request;
        Self {
            method,
            path,
            body,
            answers,
            note,
        }
    }
}

/// A method and a path, with a query if needed: `GET /v1/models`.
struct Request {
    method: Method,
    path: String,
}

impl FromStr for Request {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        let (method, path) = text.split_once(' ').ok_or(RequestError)?;
        let method = route::method(method).ok_or(RequestError)?;
        let visible = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        let path = path.to_owned();
        visible.then_some(Self { method, path }).ok_or(RequestError)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("expected a method and a path, such as \"GET /v1/models\"")]
struct RequestError;
