//! The cookie that carries a session.
//!
//! Over TLS its name begins with `__Host-`, so that no other host of the domain can set it (RFC 6265bis section 4.1.3.2).
//! Browsers take neither that nor `Secure` from a plain `http://127.0.0.1`, where it goes without.

use http::{HeaderMap, HeaderValue, Uri, header};

/// How the cookie is written, which follows from the address that people use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Behind TLS.
    Secure,
    /// In the clear, on this machine.
    Loopback,
    /// In the clear, across a network: there is none.
    Refused,
}

impl Cookie {
    /// For the address in `admin.public_url`.
    pub(crate) fn of(public_url: &str) -> Self {
        let uri: Option<Uri> = public_url.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        match uri.as_ref().and_then(Uri::scheme_str) {
            Some("https") => Self::Secure,
            _ if is_loopback(host) => Self::Loopback,
            _ => Self::Refused,
        }
    }

    /// The session that a request carries; none if it carries two.
    pub(crate) fn read(self, headers: &HeaderMap) -> Option<&str> {
        let lines = headers.get_all(header::COOKIE).into_iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'));
        let mut ours = pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name())
            .map(|(_, value)| value);
        let session = ours.next()?;
        ours.next().is_none().then_some(session)
    }

    /// Has the browser keep `session` until it is closed; how long it is good for is decided here.
    pub(crate) fn set(self, session: &str) -> Option<HeaderValue> {
        self.write(&format!("{}={session}", self.name()))
    }

    /// Has the browser forget it.
    pub(crate) fn clear(self) -> Option<HeaderValue> {
        self.write(&format!("{}=; Max-Age=0", self.name()))
    }

    fn write(self, pair: &str) -> Option<HeaderValue> {
        let secure = match self {
            Self::Secure => "; Secure",
            Self::Loopback => "",
            Self::Refused => return None,
        };
        let line = format!("{pair}; Path=/; HttpOnly; SameSite=Strict{secure}");
        let mut value = HeaderValue::try_from(line).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Secure => "__Host-keyside",
            Self::Loopback | Self::Refused => "keyside",
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip: Option<std::net::IpAddr> = bare.parse().ok();
    host == "localhost" || ip.is_some_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_people_use_decides_how_the_cookie_is_written() {
        for (address, cookie) in [
            ("https://keys.example.test", Cookie::Secure),
            ("https://127.0.0.1:7381", Cookie::Secure),
            ("http://127.0.0.1:7381", Cookie::Loopback),
            ("http://[::1]:7381", Cookie::Loopback),
            ("http://localhost:7381", Cookie::Loopback),
            ("http://localhost.example.test", Cookie::Refused),
            ("http://10.0.0.1:7381", Cookie::Refused),
        ] {
            assert_eq!(Cookie::of(address), cookie, "{address}");
        }
        assert_eq!(
            Cookie::Secure.set("kss_1").unwrap(),
            "__Host-keyside=kss_1; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(Cookie::Refused.set("kss_1"), None);
    }

    #[test]
    fn a_session_is_read_among_other_cookies_and_never_where_there_are_two() {
        let read = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_static(line));
            }
            Cookie::Loopback.read(&headers).map(str::to_owned)
        };
        assert_eq!(read(&["a=1; keyside=kss_1; b=2"]).as_deref(), Some("kss_1"));
        assert_eq!(read(&["a=1", "keyside=kss_1"]).as_deref(), Some("kss_1"));
        for none in [
            &["keyside=1; keyside=2"][..],
            &["xkeyside=1"],
            &["__Host-keyside=1"],
            &[],
        ] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }
}
