//! The cheapest request that tells whether a key works.

use std::str::FromStr;

use http::Method;
use serde::Deserialize;

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
    /// What its answers mean, where that is not plain.
    pub note: String,
}

/// The form in which it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckDocument {
    #[serde(deserialize_with = "parsed::text")]
    request: Request,
    body: Option<String>,
    #[serde(default)]
    note: String,
}

impl From<CheckDocument> for Check {
    fn from(
        CheckDocument {
            request,
            body,
            note,
        }: CheckDocument,
    ) -> Self {
        let Request { method, path } = request;
        Self {
            method,
            path,
            body,
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
