//! Decides who may send requests, and for which workspace: the first step of every request.
//!
//! A program on this machine may; a web page in a browser on this machine may not, whether it uses
//! our host name or, after DNS rebinding, its own. Reads only the request's head, and allocates
//! only if a label is percent-encoded.
//!
//! Browsers mark a page's requests with Fetch Metadata, but only to trustworthy origins: TLS and
//! loopback (Secure Contexts section 3.1). Under any other name over plain http, an image or a
//! simple GET of a page looks like a program's request. There a program must send a header that a
//! page cannot send without a preflight, which is refused.

use std::{borrow::Cow, net::SocketAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{
        ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, HOST, ORIGIN, UPGRADE_INSECURE_REQUESTS,
    },
    request::Parts,
};
use keyside_config::{
    AllowedHosts, EnvironmentPin, ListenAddress, Listener, Proxy, RequestHost, RequestHostError,
    headers::{SEC_FETCH_DEST, SEC_FETCH_MODE, SEC_FETCH_SITE, WORKSPACE},
};
use keyside_credentials::Environment;

use crate::{
    headers, hop::is_only_chunked, query::has_short_names, refusal::Refusal, upgrade::is_websocket,
};

/// The admission rules of one listener.
pub(crate) struct ListenerPolicy {
    /// The hosts that a request may name; `None` on a Unix socket, which no web page can reach.
    hosts: Option<AllowedHosts>,
    workspaces: Vec<String>,
    environment: EnvironmentPin,
    tag_headers: Vec<HeaderName>,
}

/// What an admitted request selects with its headers and path.
#[derive(Debug)]
pub(crate) struct Admitted<'a> {
    pub(crate) workspace: &'a str,
    pub(crate) label: Option<Cow<'a, str>>,
    pub(crate) environment: Option<Environment>,
    pub(crate) run_id: Option<&'a str>,
    pub(crate) tag: Option<&'a str>,
}

impl ListenerPolicy {
    pub(crate) fn new(listener: &Listener, bound: Option<SocketAddr>, proxy: &Proxy) -> Self {
        let hosts = match listener.address {
            ListenAddress::Unix(_) => None,
            ListenAddress::Tcp(configured) => {
                let address = bound.unwrap_or(configured);
                Some(AllowedHosts::new(address, proxy.hosts.iter().cloned()))
            }
        };
        Self {
            hosts,
            workspaces: listener.workspaces.clone(),
            environment: listener.environment,
            tag_headers: proxy.tag_headers.clone(),
        }
    }

    /// For requests that this process makes itself, such as previews. Who may make them is decided
    /// before; they may use what a runner may, so a sandbox proxy never uses a live key.
    pub(crate) fn in_process(proxy: &Proxy) -> Self {
        Self {
            hosts: None,
            workspaces: workspaces_of_all(&proxy.listeners),
            environment: environment_of_all(&proxy.listeners),
            tag_headers: proxy.tag_headers.clone(),
        }
    }

    /// The environment setting of the listener.
    pub(crate) fn pin(&self) -> EnvironmentPin {
        self.environment
    }

    /// Whether a URL can name the listener; not so for a Unix socket.
    pub(crate) fn has_url(&self) -> bool {
        self.hosts.is_some()
    }

    /// Whether the listener may be used for this workspace. Does not check that the workspace
    /// exists.
    pub(crate) fn allows_workspace(&self, workspace: &str) -> bool {
        self.workspaces.is_empty() || self.workspaces.iter().any(|known| known == workspace)
    }

    /// The environment that the listener is pinned to; `None` for any.
    pub(crate) fn pinned_environment(&self) -> Option<Environment> {
        match self.environment {
            EnvironmentPin::Any => None,
            EnvironmentPin::Live => Some(Environment::Live),
            EnvironmentPin::Sandbox => Some(Environment::Sandbox),
        }
    }

    /// Checks who is calling: accepted `Host`, no browser, a well-formed target. Checks nothing
    /// about the workspace yet.
    pub(crate) fn recognise(&self, head: &Parts) -> Result<(), Refusal> {
        let host = RequestHost::of(&head.uri, &head.headers);
        let host = host.map_err(|RequestHostError(fault)| Refusal::RequestMalformed(fault))?;
        let hosts = self.hosts.as_ref();
        if hosts.is_some_and(|hosts| !hosts.include(host)) {
            return Err(Refusal::HostNotAllowed);
        }
        let mut signs = BROWSER_HEADERS.iter();
        if signs.any(|sign| head.headers.contains_key(sign)) && !is_own_websocket_handshake(head) {
            return Err(Refusal::BrowserNotAllowed);
        }
        // In this order, because a POST is decided by its method.
        if self.hosts.is_some() && may_be_a_web_page(head) && !host.is_loopback() {
            return Err(Refusal::BrowserNotExcluded);
        }
        check_target(head)
    }

    /// Determines the workspace from the tag headers, the path, or the listener's only workspace,
    /// and reads Keyside's other headers.
    pub(crate) fn admit<'a>(
        &'a self,
        fields: &'a HeaderMap,
        path_tag: Option<&'a str>,
    ) -> Result<Admitted<'a>, Refusal> {
        let workspace = self.workspace(fields, path_tag)?;
        if !self.allows_workspace(workspace) {
            return Err(Refusal::WorkspaceNotAllowed);
        }
        Ok(Admitted {
            workspace,
            label: single_value(fields, &headers::LABEL)?
                .map(label)
                .transpose()?,
            environment: single_value(fields, &headers::ENVIRONMENT)?
                .map(environment)
                .transpose()?,
            run_id: single_value(fields, &headers::RUN)?
                .map(check_length)
                .transpose()?,
            tag: single_value(fields, &headers::TAG)?
                .map(check_length)
                .transpose()?,
        })
    }

    fn workspace<'a>(
        &'a self,
        fields: &'a HeaderMap,
        path_tag: Option<&'a str>,
    ) -> Result<&'a str, Refusal> {
        let mut tag = path_tag;
        for name in &self.tag_headers {
            match (tag, single_value(fields, name)?) {
                (Some(tag), Some(other)) if tag != other => return Err(AMBIGUOUS_WORKSPACE),
                (None, found) => tag = found,
                _ => {}
            }
        }
        match (tag, self.workspaces.as_slice()) {
            // A header whose variable is not set in the client.
            (Some(""), _) => Err(Refusal::WorkspaceMissing),
            (Some(tag), _) => Ok(tag),
            (None, [only]) => Ok(only),
            (None, _) => Err(Refusal::WorkspaceMissing),
        }
    }
}

/// The workspaces that some listener may use. Empty, which is any, if a listener may use any.
fn workspaces_of_all(listeners: &[Listener]) -> Vec<String> {
    if listeners
        .iter()
        .any(|listener| listener.workspaces.is_empty())
    {
        return Vec::new();
    }
    let mut all: Vec<_> = listeners
        .iter()
        .flat_map(|listener| listener.workspaces.iter().cloned())
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The environment that all listeners are pinned to, if it is one.
fn environment_of_all(listeners: &[Listener]) -> EnvironmentPin {
    let mut pins = listeners.iter().map(|listener| listener.environment);
    let first = pins.next().unwrap_or(EnvironmentPin::Any);
    match pins.all(|pin| pin == first) {
        true => first,
        false => EnvironmentPin::Any,
    }
}

/// Whether this is a WebSocket handshake of a program whose library sets `Origin`: to the
/// listener's own address, which serves no pages, and without the other headers that browsers add.
fn is_own_websocket_handshake(head: &Parts) -> bool {
    let mut others = BROWSER_HEADERS.iter().filter(|sign| **sign != ORIGIN);
    let has_others = others.any(|sign| head.headers.contains_key(sign))
        || head.headers.contains_key(SEC_FETCH_MODE);
    let value = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let ours = value(ORIGIN)
        .zip(value(HOST))
        .is_some_and(|(origin, host)| {
            let origin = origin.strip_prefix("http://");
            origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
        });
    let only_one = head.headers.get_all(ORIGIN).iter().count() == 1;
    ours && only_one && !has_others && is_websocket(head)
}

/// Whether a page could have sent this without a preflight and without `Origin`, which browsers
/// send with every method but GET and HEAD (Fetch section 3.2). The headers that exclude a page are
/// ones that SDKs send or can be told to send.
fn may_be_a_web_page(head: &Parts) -> bool {
    let sends_origin = matches!(
        head.method,
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE
    );
    !sends_origin
        && !PREFLIGHT_HEADERS
            .iter()
            .filter_map(|name| head.headers.get(name))
            .any(|value| !is_browser_authentication(value))
}

/// Whether a browser may have added these credentials itself, after asking its user for a password.
fn is_browser_authentication(value: &HeaderValue) -> bool {
    let scheme = value.as_bytes().split(u8::is_ascii_whitespace).next();
    scheme.is_some_and(|scheme| {
        let named = |known: &str| scheme.eq_ignore_ascii_case(known.as_bytes());
        BROWSER_SCHEMES.iter().any(|known| named(known))
    })
}

/// `Authorization` schemes for which browsers ask their user (RFC 7617, 7616, 4559).
const BROWSER_SCHEMES: [&str; 4] = ["basic", "digest", "negotiate", "ntlm"];

/// Accepts origin-form targets in visible ASCII only (RFC 9112 section 3.2.1): no proxy requests,
/// no tunnels, nothing that could name another destination, and no query that is costly to check.
fn check_target(head: &Parts) -> Result<(), Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::RequestMalformed(
            "asks for a tunnel; Keyside is not a forward proxy",
        ));
    }
    let absolute = head.version < Version::HTTP_2 && head.uri.authority().is_some();
    if absolute || !head.uri.path().starts_with('/') {
        return Err(Refusal::RequestMalformed(
            "has a target that is not a plain path; Keyside is not a forward proxy",
        ));
    }
    if !is_only_chunked(&head.headers) {
        return Err(Refusal::RequestMalformed(
            "has a Transfer-Encoding other than chunked",
        ));
    }
    let query = head.uri.query().unwrap_or_default();
    if !query.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::RequestMalformed(
            "has a query that is not visible ASCII",
        ));
    }
    if !has_short_names(query) {
        return Err(Refusal::RequestMalformed(
            "has a query whose parameters have names of more than 4,096 bytes together",
        ));
    }
    Ok(())
}

/// The value of a header that may occur once, in visible ASCII.
fn single_value<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = fields.get_all(name).iter();
    let value = values.next().map(|value| value.to_str());
    if values.next().is_some() {
        return Err(Refusal::RequestMalformed(
            "repeats one of the X-Keyside headers",
        ));
    }
    let unreadable = Refusal::RequestMalformed("has an X-Keyside header that is not visible ASCII");
    value.transpose().map_err(|_| unreadable)
}

fn label(text: &str) -> Result<Cow<'_, str>, Refusal> {
    let unreadable = Refusal::RequestMalformed("has an X-Keyside-Label that is not valid UTF-8");
    headers::decode_label(text).ok_or(unreadable)
}

fn environment(text: &str) -> Result<Environment, Refusal> {
    match text {
        "live" => Ok(Environment::Live),
        "sandbox" => Ok(Environment::Sandbox),
        _ => Err(Refusal::RequestMalformed(
            "has an X-Keyside-Environment that is neither live nor sandbox",
        )),
    }
}

fn check_length(text: &str) -> Result<&str, Refusal> {
    match text.len() <= MAX_TAG {
        true => Ok(text),
        false => Err(Refusal::RequestMalformed(
            "has an X-Keyside-Run or X-Keyside-Tag of more than 128 characters",
        )),
    }
}

/// Headers that only browsers send. `Sec-Fetch-Mode` is not one: Node's own `fetch` sends it too
/// (undici, `lib/web/fetch/util.js`).
static BROWSER_HEADERS: [HeaderName; 7] = [
    ORIGIN,
    SEC_FETCH_SITE,
    SEC_FETCH_DEST,
    HeaderName::from_static("sec-fetch-user"),
    HeaderName::from_static("sec-ch-ua"),
    UPGRADE_INSECURE_REQUESTS,
    ACCESS_CONTROL_REQUEST_METHOD,
];

/// Headers that force a preflight: none is CORS-safelisted (Fetch section 2.2.2) or set by browsers
/// themselves.
static PREFLIGHT_HEADERS: [HeaderName; 5] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
    WORKSPACE,
];

/// Characters of a run id or tag, which every run record stores.
const MAX_TAG: usize = 128;
const AMBIGUOUS_WORKSPACE: Refusal = Refusal::RequestMalformed("names two workspaces");

#[cfg(test)]
mod tests;
