//! Rejects requests that a browser sends for a page of another site, before authentication.
//!
//! Every page in a person's browser can reach a server on localhost. Browsers do not add a bearer
//! token by themselves, so the token stops most attacks; these checks also stop probing and DNS
//! rebinding. The admin page has more to fear: another server on this host could send a person into
//! a session of its own. So a session answers only requests of its own pages.

use std::{collections::HashSet, net::SocketAddr, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, Method, Uri, header};
use keyside_config::{
    AllowedHosts, RequestHost,
    headers::{SEC_FETCH_DEST, SEC_FETCH_MODE, SEC_FETCH_SITE},
};

use crate::{
    pages::{is_in_session, to_stable_link},
    problem::{Kind, Problem},
    site::Site,
};

/// The hosts and the origin that requests may name, and the paths that links on other sites may
/// lead to.
pub(crate) struct OriginPolicy {
    hosts: AllowedHosts,
    site: Arc<Site>,
    linkable: HashSet<String>,
}

impl OriginPolicy {
    /// Allows the loopback names, the bound address, and the host of `public_url`. `linkable` are
    /// the patterns of static pages.
    pub(crate) fn new(
        listen: SocketAddr,
        site: Arc<Site>,
        linkable: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            hosts: AllowedHosts::new(listen, site.host().map(str::to_owned)),
            linkable: linkable.into_iter().collect(),
            site,
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
            origin == self.site.origin()
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

    /// Whether the request is for one of the static pages, which are the same for everyone.
    fn is_linkable(&self, request: &Request) -> bool {
        let pattern = request.extensions().get::<MatchedPath>();
        pattern.is_some_and(|pattern| self.linkable.contains(pattern.as_str()))
    }
}

/// Runs once per request, before authentication.
pub(crate) async fn check(
    State(guard): State<Arc<OriginPolicy>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (uri, headers) = (request.uri(), request.headers());
    let host = guard.host(uri, headers)?;
    if is_in_session(uri.path()) {
        return match is_of_own_page(headers) {
            true => Ok(next.run(request).await),
            false => Ok(to_stable_link(&guard.site, uri)),
        };
    }
    let is_link = guard.is_linkable(&request);
    let is_allowed = is_link && (is_followed_link(&request) || is_own_form(&request));
    if !is_allowed {
        guard.page(host, headers)?;
    }
    Ok(next.run(request).await)
}

/// Whether a browser says that its own page of this origin, or the person, sent the request. A
/// request without Fetch Metadata does not: browsers send it to every https and loopback address.
fn is_of_own_page(headers: &HeaderMap) -> bool {
    says(headers, SEC_FETCH_SITE, "same-origin") || says(headers, SEC_FETCH_SITE, "none")
}

/// Whether a person follows a link, from a log viewer or another site, to a static page.
/// Subresource requests (frames, images, fetches) have another mode or destination.
fn is_followed_link(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && says(headers, SEC_FETCH_MODE, "navigate")
        && says(headers, SEC_FETCH_DEST, "document")
        && !headers.contains_key(header::ORIGIN)
}

/// Whether a static page's own form is sent. Its origin is `null` because the pages have the policy
/// `no-referrer` (Fetch, "serializing a request origin"). Over plain http from another machine a
/// browser sends no Fetch Metadata; the page's handler then refuses the form and says why.
fn is_own_form(request: &Request) -> bool {
    let headers = request.headers();
    let may_be_own =
        says(headers, SEC_FETCH_SITE, "same-origin") || !headers.contains_key(SEC_FETCH_SITE);
    request.method() == Method::POST && may_be_own && says(headers, header::ORIGIN, "null")
}

/// Whether the header is there once, with this value.
fn says(headers: &HeaderMap, name: HeaderName, expected: &str) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next().is_some_and(|value| value == expected) && values.next().is_none()
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
