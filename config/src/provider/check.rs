//! The cheapest request that tells whether a key works, and what its answers mean.

use std::str::FromStr;

use http::Method;
use serde::{Deserialize, Serialize};

use super::route;
use crate::parsed;

/// It is sent by Keyside itself, so its path may be one that no client is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "CheckDocument")]
pub struct Check {
    /// Its method.
    pub method: Method,
    /// Its path, with a query where it needs one, before the base URL's path is set in front.
    pub path: String,
    /// Its JSON body.
    pub body: Option<String>,
    /// What is special about this provider's answers: the first that fits counts, before the rule for all.
    pub answers: Vec<CheckAnswer>,
    /// The same for people, where it is not plain.
    pub note: String,
}

/// What an answer to a check means.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckAnswer {
    /// Its status.
    pub status: u16,
    /// What stands in its body, if that matters; blanks aside, since JSON has them where it likes.
    pub contains: Option<String>,
    /// What it says of the key.
    pub means: Verification,
}

/// What a provider says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verification {
    /// It takes it.
    Accepted,
    /// It knows it, and lets it do less than usual: some of it is not permitted, or there is nothing left to spend.
    Limited,
    /// It refuses it.
    Rejected,
    /// It could not be asked, or its answer says nothing of the key.
    Unreachable,
}

impl Check {
    /// What an answer says of the key that was sent.
    pub fn read(&self, status: u16, body: &[u8]) -> Verification {
        let special = self.answers.iter().find(|answer| answer.fits(status, body));
        special.map_or_else(|| default_meaning(status), |answer| answer.means)
    }

    /// Whether what an answer of this status says stands in its body.
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

/// The rule for all providers (RFC 9110 section 15.5; 429 is RFC 6585's): whoever is told to pay or to slow down was
/// recognised.
fn default_meaning(status: u16) -> Verification {
    match status {
        200..=299 => Verification::Accepted,
        401 | 403 => Verification::Rejected,
        402 | 429 => Verification::Limited,
        _ => Verification::Unreachable,
    }
}

impl Verification {
    /// The name in responses and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Limited => "limited",
            Self::Rejected => "rejected",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The form in which it is written.
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

/// A method and a path, with a query where it needs one: `GET /v1/models`.
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
