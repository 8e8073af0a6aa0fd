//! The cheapest requests that check a key, and how to interpret their responses.

use std::{collections::BTreeMap, str::FromStr};

use http::Method;
use serde::Deserialize;

use super::{Cause, Provider, Verification, route};
use crate::parsed::from_text;

/// The checks of a provider. Keyside itself sends them, so their paths may be some that clients may
/// not request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "CheckDocument")]
pub struct Check {
    /// The cheapest request that needs a valid key.
    pub request: CheckRequest,
    /// A minimal prompt to a cheap model; `None` if no model is known that every key can use.
    pub prompt: Option<CheckRequest>,
    /// Special cases of this provider's responses. The first that matches counts, before the
    /// general rules.
    pub answers: Vec<CheckAnswer>,
    /// Next steps that are more precise than the general ones, with the same placeholders.
    pub next: BTreeMap<Cause, String>,
    /// An explanation for people, if the special cases need one.
    pub note: String,
}

/// Which of a provider's checks is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// The cheapest request.
    Request,
    /// The minimal prompt, which costs a few tokens; the cheapest request if there is none.
    Prompt,
}

/// A request that checks a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRequest {
    /// Its method.
    pub method: Method,
    /// Its path, with a query if needed, relative to the base URL's path.
    pub path: String,
    /// Its JSON body, if it has one.
    pub body: Option<String>,
}

/// What a response to a check means.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckAnswer {
    /// HTTP status.
    pub status: u16,
    /// Text that the body has to contain, if it matters. Case and white space are ignored, because
    /// JSON allows the latter anywhere.
    pub contains: Option<String>,
    /// Why the key is not accepted.
    pub cause: Cause,
}

impl Check {
    /// The request of a check, and which kind it is in fact.
    pub fn choose(&self, wanted: CheckKind) -> (&CheckRequest, CheckKind) {
        match (&self.prompt, wanted) {
            (Some(prompt), CheckKind::Prompt) => (prompt, CheckKind::Prompt),
            _ => (&self.request, CheckKind::Request),
        }
    }

    /// Interprets a response: why the key is not accepted, or `None` if it is. `body` may be the
    /// beginning only.
    pub fn cause(&self, kind: CheckKind, status: u16, body: &[u8]) -> Option<Cause> {
        let body = squeezed(body);
        let mut answers = self.answers.iter();
        let special = answers.find(|answer| {
            let text = answer.contains.as_deref();
            answer.status == status && text.is_none_or(|text| holds(&body, text))
        });
        match special {
            Some(answer) => Some(answer.cause),
            None => general_cause(kind, status, &body),
        }
    }

    /// Whether the meaning of a response with this status can depend on its body.
    pub fn needs_body(&self, status: u16) -> bool {
        let of_status = |answer: &CheckAnswer| answer.status == status && answer.contains.is_some();
        (400..500).contains(&status) || self.answers.iter().any(of_status)
    }
}

impl Provider {
    /// What to do about the result of a check, in a sentence or two.
    pub fn next_step(&self, cause: Cause) -> String {
        let own = self.check.next.get(&cause).map(String::as_str);
        let links = &self.links;
        let keys = match links.console.as_str() {
            "" => "the provider's console",
            console => console,
        };
        let status = "the provider's status page";
        own.unwrap_or_else(|| cause.next_step())
            .replace("{provider}", &self.name)
            .replace("{keys}", keys)
            .replace("{billing}", links.billing.as_deref().unwrap_or(keys))
            .replace("{status}", links.status.as_deref().unwrap_or(status))
    }
}

/// The rules for all providers, after the special cases of one. RFC 9110 section 15.5; 429 is
/// RFC 6585. A provider that asks for fewer requests has recognised the key.
fn general_cause(kind: CheckKind, status: u16, body: &[u8]) -> Option<Cause> {
    let said = |texts: &[&str]| texts.iter().any(|text| holds(body, text));
    Some(match status {
        200..=299 => return None,
        400..=499 if said(NO_FUNDS) => Cause::NoFunds,
        400..=499 if said(&["\"model_not_found\""]) => Cause::ModelUnavailable,
        401 => Cause::WrongKey,
        402 => Cause::NoFunds,
        403 if said(&["unsupported_country"]) => Cause::AddressNotAllowed,
        403 => Cause::AccessDenied,
        // A path of a check always exists, unless the address is wrong. A model may be retired.
        404 | 410 if kind == CheckKind::Prompt => Cause::ModelUnavailable,
        404 | 405 | 410 => Cause::WrongEndpoint,
        407 => Cause::ProxyFailed,
        408 => Cause::TimedOut,
        429 => Cause::RateLimited,
        500..=599 => Cause::ProviderFailed,
        _ => Cause::ResponseUnexpected,
    })
}

/// Codes and phrases for an account that cannot pay, as OpenAI and those that imitate it write
/// them. Not "billing" or "quota" alone: Google names both in an ordinary rate limit.
const NO_FUNDS: &[&str] = &[
    "\"insufficient_quota\"",
    "\"insufficient_credits\"",
    "\"billing_not_active\"",
    "\"billing_hard_limit_reached\"",
    "insufficient balance",
    "insufficient credit",
    "insufficient funds",
];

/// Without white space and in lower case.
fn squeezed(text: &[u8]) -> Vec<u8> {
    let visible = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    visible.map(u8::to_ascii_lowercase).collect()
}

/// Whether a squeezed body contains a text.
fn holds(body: &[u8], text: &str) -> bool {
    let text = squeezed(text.as_bytes());
    body.windows(text.len().max(1)).any(|part| part == text)
}

impl From<Option<Cause>> for Verification {
    fn from(cause: Option<Cause>) -> Self {
        cause.map_or(Self::Accepted, Cause::verdict)
    }
}

/// A check as written in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckDocument {
    request: RequestLine,
    body: Option<String>,
    prompt: Option<RequestDocument>,
    #[serde(default)]
    answers: Vec<CheckAnswer>,
    #[serde(default)]
    next: BTreeMap<Cause, String>,
    #[serde(default)]
    note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestDocument {
    request: RequestLine,
    body: Option<String>,
}

impl From<CheckDocument> for Check {
    fn from(document: CheckDocument) -> Self {
        let prompt = document.prompt;
        Self {
            request: document.request.with(document.body),
            prompt: prompt.map(|prompt| prompt.request.with(prompt.body)),
            answers: document.answers,
            next: document.next,
            note: document.note,
        }
    }
}

/// A method and a path, with a query if needed: `GET /v1/models`.
struct RequestLine {
    method: Method,
    path: String,
}

impl RequestLine {
    fn with(self, body: Option<String>) -> CheckRequest {
        let Self { method, path } = self;
        CheckRequest { method, path, body }
    }
}

from_text!(RequestLine);

impl FromStr for RequestLine {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let parsed = text.split_once(' ').and_then(|(method, path)| {
            let visible = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
            let (method, path) = (route::method(method)?, path.to_owned());
            visible.then_some(Self { method, path })
        });
        parsed.ok_or("expected a method and a path, such as \"GET /v1/models\"")
    }
}

#[cfg(test)]
mod tests;
