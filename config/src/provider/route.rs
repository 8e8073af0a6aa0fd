//! One allowed kind of request.

use http::Method;

use super::ErrorShape;
use crate::PathPattern;

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
