//! Reads the proxy variables of Keyside's own environment, named as curl names them.
//!
//! `HTTP_PROXY` is not read: it is for plain http, which never takes a proxy here.

use super::EgressError;
use crate::upstream::{EgressProxy, ProxyCredentials};
use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use keyside_config::{BaseUrl, ProxyUrl};
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;

/// Values of the proxy variables, passed in so that a test needs no environment. It has no `Debug`: they may hold a password.
pub struct ProxyVariables(BTreeMap<&'static str, OsString>);

/// The hosts that `NO_PROXY` exempts: names with all below them, addresses, networks, or `*`.
pub(super) struct Exempt {
    name: &'static str,
    /// Intercepts what is not exempt.
    matcher: Matcher,
}

impl ProxyVariables {
    /// Those of this process. An empty one counts as unset.
    pub fn from_process() -> Self {
        Self::of(|name| env::var_os(name))
    }

    fn of(value: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &'static str| {
            let value = value(name).filter(|value| !value.is_empty())?;
            Some((name, value))
        };
        Self(PROXY.into_iter().chain(EXEMPT).filter_map(set).collect())
    }

    /// The proxy for https, and the variable that names it.
    pub(super) fn proxy(&self) -> Result<Option<(&'static str, EgressProxy)>, EgressError> {
        let Some((name, value)) = self.first(PROXY) else {
            return Ok(None);
        };
        let proxy = value
            .to_str()
            .ok_or_else(|| "it is not UTF-8".to_owned())
            .and_then(proxy);
        match proxy {
            Ok(proxy) => Ok(Some((name, proxy))),
            Err(reason) => Err(EgressError::Variable { name, reason }),
        }
    }

    pub(super) fn exempt(&self) -> Option<Exempt> {
        let (name, value) = self.first(EXEMPT)?;
        // Any proxy will do: only whether there is one is asked.
        let matcher = Matcher::builder().https("http://proxy.invalid");
        let matcher = matcher.no(value.to_string_lossy().into_owned()).build();
        Some(Exempt { name, matcher })
    }

    fn first<const N: usize>(&self, names: [&'static str; N]) -> Option<(&'static str, &OsString)> {
        names
            .into_iter()
            .find_map(|name| Some((name, self.0.get(name)?)))
    }
}

impl Exempt {
    /// The variable, if it exempts this host.
    pub(super) fn covers(&self, base: &BaseUrl) -> Option<&'static str> {
        let target: Uri = format!("https://{}/", base.host_and_port()).parse().ok()?;
        self.matcher
            .intercept(&target)
            .is_none()
            .then_some(self.name)
    }
}

/// Reads `[scheme://][user[:password]@]host[:port]`. Without a scheme it is http; user and password may be escaped.
fn proxy(value: &str) -> Result<EgressProxy, String> {
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let (userinfo, authority) = match rest.rsplit_once('@') {
        Some((userinfo, authority)) => (Some(userinfo), authority),
        None => (None, rest),
    };
    let url: Result<ProxyUrl, _> = format!("{scheme}://{authority}").parse();
    let url = url.map_err(|error| error.to_string())?;
    let credentials = userinfo.map(credentials).transpose()?;
    Ok(EgressProxy::new(url, credentials))
}

fn credentials(userinfo: &str) -> Result<ProxyCredentials, String> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let unescaped = |text| percent_decode_str(text).decode_utf8();
    match (unescaped(user), unescaped(password)) {
        (Ok(user), Ok(password)) => {
            ProxyCredentials::new(&user, &password).map_err(|error| error.to_string())
        }
        _ => Err("its user and password are not UTF-8".to_owned()),
    }
}

/// The first that is set counts.
const PROXY: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const EXEMPT: [&str; 2] = ["NO_PROXY", "no_proxy"];

#[cfg(test)]
impl ProxyVariables {
    pub(super) fn with(variables: &[(&str, &str)]) -> Self {
        Self::of(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }
}
