//! Rejects requests that a browser sends for a page of another site, before authentication.
//!
//! Every page in a person's browser can reach a server on localhost. Browsers do not add a bearer
//! token by themselves, so the token stops most attacks; these checks also stop probing and DNS
//! rebinding.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, Method, Uri, header, uri::Authority};

use crate::{
    problem::{Kind, Problem},
    routes::guide,
};

/// The hosts and the origin that requests may name.
pub(crate) struct OriginPolicy {
    hosts: Vec<String>,
    public_origin: String,
}

impl OriginPolicy {
    /// Allows the loopback names, the bound address, and the host of `public_url`.
    pub(crate) fn new(listen: SocketAddr, public_url: &str) -> Self {
        let mut hosts = LOOPBACK.map(str::to_owned).to_vec();
        // Not 0.0.0.0: browsers connect it to this machine and skip their local-network checks.
        if !listen.ip().is_unspecified() {
            hosts.push(match listen.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            });
        }
        let public: Option<Uri> = public_url.parse().ok();
        hosts.extend(
            public
                .as_ref()
                .and_then(Uri::host)
                .map(str::to_ascii_lowercase),
        );
        let public_origin = public.as_ref().map(origin_of).unwrap_or_default();
        Self {
            hosts,
            public_origin,
        }
    }

    /// Against DNS rebinding: a rebound page still sends its own host name.
    fn host(&self, uri: &Uri, headers: &HeaderMap) -> Result<Authority, Problem> {
        let mut given = headers.get_all(header::HOST).iter();
        let host = given
            .next()
            .map(|value| value.to_str().ok()?.parse::<Authority>().ok());
        let named = match (host, given.next(), uri.authority()) {
            (Some(Some(host)), None, None) => host,
            // An absolute request target or HTTP/2's `:authority` must not differ from the Host
            // header.
            (Some(Some(host)), None, Some(target)) if host == *target => host,
            (None, None, Some(target)) => target.clone(),
            _ => return Err(malformed_host()),
        };
        let name = named.host().to_ascii_lowercase();
        match self.hosts.contains(&name) && !named.as_str().contains('@') {
            true => Ok(named),
            false => Err(host_not_allowed()),
        }
    }

    /// Checks Fetch Metadata if the browser sends it, and Origin otherwise. Programs send neither.
    fn page(&self, host: &Authority, headers: &HeaderMap) -> Result<(), Problem> {
        let sites = headers.get_all(SEC_FETCH_SITE);
        let same_site = sites
            .iter()
            .all(|site| site == "same-origin" || site == "none");
        let own = |origin: &str| {
            origin == self.public_origin
                || origin.eq_ignore_ascii_case(&format!("http://{host}"))
                || origin.eq_ignore_ascii_case(&format!("https://{host}"))
        };
        let same_origin = headers
            .get_all(header::ORIGIN)
            .iter()
            .all(|origin| origin.to_str().is_ok_and(own));
        match same_site && same_origin {
            true => Ok(()),
            false => Err(browser_not_allowed()),
        }
    }
}

/// Runs once per request, before authentication.
pub(crate) async fn check(
    State(guard): State<Arc<OriginPolicy>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let host = guard.host(request.uri(), request.headers())?;
    if !is_guide_navigation(&request) {
        guard.page(&host, request.headers())?;
    }
    Ok(next.run(request).await)
}

/// Whether a person follows a link of a refusal, from a log viewer or another site, to the static
/// guide. Subresource requests (frames, images, fetches) have another mode or destination.
fn is_guide_navigation(request: &Request) -> bool {
    let headers = request.headers();
    let says = |name: HeaderName, expected: &str| {
        let mut values = headers.get_all(name).iter();
        values.next().is_some_and(|value| value == expected) && values.next().is_none()
    };
    request.method() == Method::GET
        && guide::is_at(request.uri().path())
        && says(SEC_FETCH_MODE, "navigate")
        && says(SEC_FETCH_DEST, "document")
        && !headers.contains_key(header::ORIGIN)
}

fn origin_of(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
    format!("{scheme}://{authority}").to_ascii_lowercase()
}

fn malformed_host() -> Problem {
    Problem::new(
        Kind::RequestMalformed,
        "The Host header is missing, repeated or malformed.",
        "Send one Host header, with the address that the request goes to.",
    )
}

fn host_not_allowed() -> Problem {
    Problem::new(
        Kind::HostNotAllowed,
        "The Host header does not name this server.",
        "Use the address in admin.public_url, or localhost. To reach it by another name, set admin.public_url to that.",
    )
}

fn browser_not_allowed() -> Problem {
    Problem::new(
        Kind::BrowserNotAllowed,
        "A browser sent this request for a page of another site.",
        "Call the API from a program, or from Keyside's own pages.",
    )
}

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
