//! Reads the proxy variables of Keyside's environment, by the names that curl uses.
//!
//! `HTTP_PROXY` is not used: it is for plain http, which never goes through a proxy here.

use std::{collections::BTreeMap, env, ffi::OsString, net::IpAddr};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use keyside_config::{BaseUrl, ProxyUrl};
use percent_encoding::percent_decode_str;

use super::EgressError;
use crate::upstream::{EgressProxy, ProxyCredentials};

/// The values of the proxy variables, passed in so that tests need no environment. No `Debug`,
/// because they may contain a password.
pub struct ProxyVariables(BTreeMap<&'static str, OsString>);

/// The hosts that `NO_PROXY` exempts: names including their subdomains, addresses, networks, or
/// `*`.
pub(super) struct NoProxy {
    name: &'static str,
    /// Intercepts the hosts that are not exempt.
    matcher: Matcher,
}

impl ProxyVariables {
    /// The variables of this process. An empty one counts as unset.
    pub fn from_process() -> Self {
        Self::of(|name| env::var_os(name))
    }

    fn of(value: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &'static str| {
            let value = value(name).filter(|value| !value.is_empty())?;
            Some((name, value))
        };
        let names = HTTPS_PROXY_NAMES
            .into_iter()
            .chain(NO_PROXY_NAMES)
            .chain(HTTP_PROXY_NAMES);
        Self(names.filter_map(set).collect())
    }

    /// The proxy for https, with the name of the variable that sets it.
    pub(super) fn proxy(&self) -> Result<Option<(&'static str, EgressProxy)>, EgressError> {
        let Some((name, value)) = self.first(HTTPS_PROXY_NAMES) else {
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

    pub(super) fn no_proxy(&self) -> Option<NoProxy> {
        let (name, value) = self.first(NO_PROXY_NAMES)?;
        // Any proxy URL works: only whether the matcher intercepts is used.
        let matcher = Matcher::builder().https("http://proxy.invalid");
        let list = value.to_string_lossy();
        let list: Vec<_> = entries(&list)
            .map(|entry| domain(entry).to_owned())
            .collect();
        let matcher = matcher.no(list.join(",")).build();
        Some(NoProxy { name, matcher })
    }

    /// Warnings about settings without effect, a sentence each. They do not repeat values.
    pub fn warnings(&self) -> Vec<String> {
        if self.first(HTTPS_PROXY_NAMES).is_none() {
            let plain = self.first(HTTP_PROXY_NAMES).map(|(name, _)| {
                format!(
                    "{name} applies to http:// only, but providers are reached over https://; set \
                     HTTPS_PROXY to use a proxy for them"
                )
            });
            return plain.into_iter().collect();
        }
        let Some((name, value)) = self.first(NO_PROXY_NAMES) else {
            return Vec::new();
        };
        let list = value.to_string_lossy();
        let faults = entries(&list).map(invalid_entry).zip(1..);
        let warnings = faults.filter_map(|(fault, position)| {
            Some(format!(
                "{name}: entry {position} {}, and exempts nothing",
                fault?
            ))
        });
        warnings.collect()
    }

    fn first<const N: usize>(&self, names: [&'static str; N]) -> Option<(&'static str, &OsString)> {
        names
            .into_iter()
            .find_map(|name| Some((name, self.0.get(name)?)))
    }
}

impl NoProxy {
    /// The variable's name, if it exempts this host.
    pub(super) fn exempts(&self, base: &BaseUrl) -> Option<&'static str> {
        let target: Uri = format!("https://{}/", base.host_and_port()).parse().ok()?;
        self.matcher
            .intercept(&target)
            .is_none()
            .then_some(self.name)
    }
}

/// Entries are separated by commas or white space, as with curl.
fn entries(list: &str) -> impl Iterator<Item = &str> {
    let separates = |letter: char| letter == ',' || letter.is_ascii_whitespace();
    list.split(separates).filter(|entry| !entry.is_empty())
}

/// Reads `*.example.com` as `.example.com`.
fn domain(entry: &str) -> &str {
    match entry.strip_prefix('*') {
        Some(below) if below.starts_with('.') => below,
        _ => entry,
    }
}

/// Why an entry cannot match any host; `None` if it can.
fn invalid_entry(entry: &str) -> Option<&'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if entry == "*" || entry.parse::<IpAddr>().is_ok() || domain(entry).bytes().all(fits) {
        return None;
    }
    if let Some((address, length)) = entry.split_once('/') {
        return (!is_network(address, length)).then_some("is not a network such as 10.0.0.0/8");
    }
    match entry.rsplit_once(':') {
        Some((_, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some("has a port"),
        _ => Some("is not a name, address or network"),
    }
}

fn is_network(address: &str, length: &str) -> bool {
    let longest = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= longest)
}

/// Parses `[scheme://][user[:password]@]host[:port]`. The default scheme is http; user and password
/// may be percent-encoded.
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

/// In order of precedence.
const HTTPS_PROXY_NAMES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// For plain http only.
const HTTP_PROXY_NAMES: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const NO_PROXY_NAMES: [&str; 2] = ["NO_PROXY", "no_proxy"];

#[cfg(test)]
impl ProxyVariables {
    pub(super) fn with(variables: &[(&str, &str)]) -> Self {
        Self::of(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }
}
