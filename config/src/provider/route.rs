//! One allowed kind of request.

use std::str::FromStr;

use http::Method;
use serde::Deserialize;

use super::ErrorShape;
use crate::{PathPattern, PathPatternError, parsed};

/// Methods and a path that may be asked of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The methods.
    pub methods: Vec<Method>,
    /// The paths, before the base URL's path is set in front.
    pub path: PathPattern,
    /// Whether it is a WebSocket handshake; other routes cannot be upgraded.
    pub upgrade: bool,
    /// The shape of errors here, where it is not the provider's usual one.
    pub error: Option<ErrorShape>,
}

impl Route {
    /// Whether it allows `method` on `path`.
    pub fn allows(&self, method: &Method, path: &str) -> bool {
        self.methods.contains(method) && self.path.matches(path)
    }
}

/// The form in which a route is written: `"GET DELETE /v1/responses/*"`, or a table where that is not enough.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteDocument {
    #[serde(deserialize_with = "parsed::text")]
    request: Pattern,
    #[serde(default)]
    upgrade: bool,
    error: Option<ErrorShape>,
}

impl RouteDocument {
    pub(super) fn settle(self) -> Route {
        Route {
            methods: self.request.methods,
            path: self.request.path,
            upgrade: self.upgrade,
            error: self.error,
        }
    }
}

impl FromStr for RouteDocument {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let request = text.parse()?;
        Ok(Self {
            request,
            upgrade: false,
            error: None,
        })
    }
}

/// One or more methods, and a path pattern.
struct Pattern {
    methods: Vec<Method>,
    path: PathPattern,
}

impl FromStr for Pattern {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let (methods, path) = text.rsplit_once(' ').ok_or(RouteError::Form)?;
        let methods: Option<Vec<_>> = methods.split(' ').map(method).collect();
        Ok(Self {
            methods: methods.ok_or(RouteError::Form)?,
            path: path.parse()?,
        })
    }
}

/// Why a text is no route.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("expected methods and a path, such as \"GET /v1/models\"")]
    Form,
    #[error(transparent)]
    Path(#[from] PathPatternError),
}

/// An extension method is more likely a slip than meant; CONNECT and TRACE are never forwarded.
pub(super) fn method(name: &str) -> Option<Method> {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    known.into_iter().find(|method| method.as_str() == name)
}
