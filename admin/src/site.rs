//! How browsers address this server: the scheme, host and path of `admin.public_url`.

use axum::extract::Request;
use http::{
    Uri,
    uri::{Authority, PathAndQuery},
};

/// The parts of `admin.public_url`.
pub(crate) struct Site {
    url: String,
    origin: String,
    host: Option<String>,
    base: String,
    is_https: bool,
}

impl Site {
    /// `public_url` has no slash at the end.
    pub(crate) fn new(public_url: &str) -> Self {
        let parsed: Option<Uri> = public_url.parse().ok();
        let host = parsed.as_ref().and_then(Uri::host).map(str::to_owned);
        let base = parsed.as_ref().map_or("", Uri::path);
        Self {
            url: public_url.to_owned(),
            origin: parsed.as_ref().map(origin_of).unwrap_or_default(),
            host,
            base: base.trim_end_matches('/').to_owned(),
            is_https: public_url.starts_with("https://"),
        }
    }

    /// Scheme, host and port, in lower case.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The host, without the port.
    pub(crate) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The path that every link and cookie path begins with; empty if pages are at the root.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Whether browsers reach the page over https, and so send cookies over https only.
    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }

    /// The absolute URL of a path, for people who are not on a page yet.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Removes [`Self::base`] from a request's path, for a reverse proxy that leaves it there.
    pub(crate) fn strip_base(&self, mut request: Request) -> Request {
        if let Some(uri) = self.without_base(request.uri()) {
            *request.uri_mut() = uri;
        }
        request
    }

    fn without_base(&self, uri: &Uri) -> Option<Uri> {
        if self.base.is_empty() {
            return None;
        }
        let target = uri.path_and_query().map(PathAndQuery::as_str)?;
        let rest = target.strip_prefix(&self.base)?;
        let rest = match rest.chars().next() {
            Some('/') => rest.to_owned(),
            None | Some('?') => format!("/{rest}"),
            // Another path that begins with the same letters.
            Some(_) => return None,
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(rest.parse().ok()?);
        Uri::from_parts(parts).ok()
    }
}

fn origin_of(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
    format!("{scheme}://{authority}").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(public_url: &str, target: &str) -> String {
        let request = Request::get(target).body(axum::body::Body::empty());
        let request = Site::new(public_url).strip_base(request.unwrap());
        request.uri().to_string()
    }

    #[test]
    fn a_path_in_the_public_url_is_the_base_of_links_and_is_optional_in_requests() {
        let site = Site::new("https://keys.example/team/keyside");
        assert_eq!(
            (site.base(), site.is_https(), site.host()),
            ("/team/keyside", true, Some("keys.example"))
        );
        assert_eq!(site.origin(), "https://keys.example");
        assert_eq!(site.url("/link"), "https://keys.example/team/keyside/link");
        let url = "https://keys.example/team/keyside";
        for (target, expected) in [
            ("/team/keyside/keys?q=1", "/keys?q=1"),
            ("/team/keyside", "/"),
            ("/team/keyside/", "/"),
            ("/team/keyside?q=1", "/?q=1"),
            ("/keys", "/keys"),
            ("/team/keysides/keys", "/team/keysides/keys"),
        ] {
            assert_eq!(stripped(url, target), expected, "{target}");
        }
    }

    #[test]
    fn without_a_path_in_the_public_url_nothing_is_removed() {
        let site = Site::new("http://127.0.0.1:7381");
        assert_eq!((site.base(), site.is_https()), ("", false));
        assert_eq!(stripped("http://127.0.0.1:7381", "/keys"), "/keys");
    }
}
