//! Rejects requests that a browser sends for a page of another site, before authentication.
//!
//! Every page in a person's browser can reach a server on localhost. Browsers do not add a bearer
//! token by themselves, so the token stops most attacks; these checks also stop probing and DNS
//! rebinding.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, Method, Uri, header, uri::Authority};
use keyside_config::{
    AllowedHosts, RequestHost,
    headers::{SEC_FETCH_DEST, SEC_FETCH_MODE, SEC_FETCH_SITE},
};

use crate::{
    problem::{Kind, Problem},
    routes::guide,
};

/// The hosts and the origin that requests may name.
pub(crate) struct OriginPolicy {
    hosts: AllowedHosts,
    public_origin: String,
}

impl OriginPolicy {
    /// Allows the loopback names, the bound address, and the host of `public_url`.
    pub(crate) fn new(listen: SocketAddr, public_url: &str) -> Self {
        let public: Option<Uri> = public_url.parse().ok();
        let public_host = public.as_ref().and_then(Uri::host).map(str::to_owned);
        let public_origin = public.as_ref().map(origin_of).unwrap_or_default();
        Self {
            hosts: AllowedHosts::new(listen, public_host),
            public_origin,
        }
    }

    /// Against DNS rebinding: a rebound page still sends its own host name.
    fn host<'a>(&self, uri: &'a Uri, headers: &'a HeaderMap) -> Result<RequestHost<'a>, Problem> {
        let host = RequestHost::of(uri, headers).map_err(|_| malformed_host())?;
        match self.hosts.include(host) {
            true => Ok(host),
            false => Err(host_not_allowed()),
        }
    }

    /// Checks Fetch Metadata if the browser sends it, and Origin otherwise. Programs send neither.
    fn page(&self, host: RequestHost<'_>, headers: &HeaderMap) -> Result<(), Problem> {
        let sites = headers.get_all(SEC_FETCH_SITE);
        let same_site = sites
            .iter()
            .all(|site| site == "same-origin" || site == "none");
        let host = host.authority;
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
        guard.page(host, request.headers())?;
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
