//! The half of a session that stays with the page.
//!
//! A cookie goes to every port of its host (RFC 6265 section 8.5), on 127.0.0.1 to whatever else somebody runs there. That
//! could send it here and be whoever signed in, or put one of its own in its place. So a session is asked for twice: by its
//! cookie, which no script reads, and by a header with what the answer to the sign-in said, which the page keeps in the
//! storage of its origin. That has a port: no other page reads it, and no browser sends it by itself.

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Tells which page token belongs to which session. Nothing is kept: it follows from the session's text, by a key that
/// nobody has.
pub(crate) struct PageTokens {
    key: Zeroizing<[u8; 32]>,
}

impl PageTokens {
    pub(crate) fn new() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key).expect("a system without randomness signs nobody in");
        Self { key }
    }

    /// What the page is told when it signs in.
    pub(crate) fn of(&self, session: &str) -> String {
        let mac = self.mac(session).finalize().into_bytes();
        let hex = mac.iter().map(|byte| format!("{byte:02x}"));
        hex.collect()
    }

    /// Whether a request brings the page token of this session, once.
    pub(crate) fn come_with(&self, session: &str, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(HEADER).iter();
        let bytes = given.next().and_then(|token| from_hex(token.as_bytes()));
        let is_its = bytes.is_some_and(|bytes| self.mac(session).verify_slice(&bytes).is_ok());
        is_its && given.next().is_none()
    }

    fn mac(&self, session: &str) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&*self.key);
        let mut mac = mac.expect("HMAC takes a key of any length");
        mac.update(session.as_bytes());
        mac
    }
}

fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

/// Where the page sends it.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-keyside-page-token");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_page_token_is_good_for_its_session_in_its_process_and_comes_once() {
        let pages = PageTokens::new();
        let with = |tokens: &[&str]| {
            let mut headers = HeaderMap::new();
            for token in tokens {
                headers.append(HEADER, HeaderValue::from_str(token).unwrap());
            }
            headers
        };
        let token = pages.of("kss_1");
        assert!(pages.come_with("kss_1", &with(&[&token])));
        assert!(!pages.come_with("kss_2", &with(&[&token])));
        assert!(!PageTokens::new().come_with("kss_1", &with(&[&token])));
        for wrong in [
            &[][..],
            &[""],
            &[&token, &token],
            &[&token[..62]],
            &["kss_1"],
        ] {
            assert!(!pages.come_with("kss_1", &with(wrong)), "{wrong:?}");
        }
    }
}
