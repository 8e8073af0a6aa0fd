//! The cookies of a session: one that is sent to its path alone, and over https one that no other
//! host and no plain-http page can set.

use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};

use crate::{
    random::{digest, short_hex},
    sessions::NewSession,
    site::Site,
};

/// Gives a new session's cookies to its browser.
pub(super) fn set(response: &mut Response, site: &Site, session: &NewSession) {
    let cookies = lines(site, &session.id, &session.cookie, &session.host_cookie, "");
    append(response, cookies);
}

/// Has the browser delete a session's cookies.
pub(super) fn clear(response: &mut Response, site: &Site, id: &str) {
    append(response, lines(site, id, "", "", "; Max-Age=0"));
}

/// All values of the path's cookie.
pub(super) fn of_path(headers: &HeaderMap) -> Vec<&str> {
    named(headers, NAME)
}

/// All values of the session's `__Host-` cookie.
pub(super) fn of_host<'a>(headers: &'a HeaderMap, id: &str) -> Vec<&'a str> {
    named(headers, &host_name(id))
}

/// The two Set-Cookie lines; over plain http only the first, because browsers then take no `Secure`
/// cookie and no `__Host-` cookie.
fn lines(site: &Site, id: &str, value: &str, host_value: &str, end: &str) -> Vec<String> {
    let base = site.base();
    let of_path = format!("{NAME}={value}; Path={base}/s/{id}; HttpOnly; SameSite=Strict");
    match site.is_https() {
        false => vec![format!("{of_path}{end}")],
        true => {
            let name = host_name(id);
            let of_host = format!("{name}={host_value}; Path=/; HttpOnly; SameSite=Strict");
            [of_path, of_host]
                .map(|line| format!("{line}; Secure{end}"))
                .into()
        }
    }
}

fn append(response: &mut Response, lines: Vec<String>) {
    for line in lines {
        // Names, hex digits and a path of the settings: always a header value.
        if let Ok(mut line) = HeaderValue::try_from(line) {
            line.set_sensitive(true);
            response.headers_mut().append(header::SET_COOKIE, line);
        }
    }
}

/// A name of its own for each session, because this cookie goes to the whole host: two sessions of
/// one browser do not overwrite each other's. It does not tell the id.
fn host_name(id: &str) -> String {
    format!("__Host-{NAME}-{}", short_hex(&digest(id), 4))
}

/// The values of the cookies with this name (RFC 6265 section 5.4).
fn named<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(given, _)| *given == name)
        .map(|(_, value)| value)
        .take(COOKIES_MAX)
        .collect()
}

const NAME: &str = "keyside-session";

/// More of one name than a browser sends by accident.
const COOKIES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_read_from_every_line_whatever_stands_around_them() {
        let mut headers = HeaderMap::new();
        for line in [
            "a=1; keyside-session=x",
            "keyside-session=y;b=2",
            "xkeyside-session=z",
        ] {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        assert_eq!(of_path(&headers), ["x", "y"]);
        assert_eq!(of_host(&headers, "id"), [""; 0]);
    }
}
