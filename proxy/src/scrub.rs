//! Redacts the request's secret where an upstream echoes it.
//!
//! The mask has the secret's length, so that a body keeps its `Content-Length`
//! and a WebSocket frame its size. Runs once for every chunk of a response;
//! costs a substring search for each form of the secret and, without a match, no copy.

use crate::inject;
use crate::search::{Anchor, partial_at_end};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use keyside_config::Auth;
use keyside_credentials::Secret;
use zeroize::Zeroizing;

/// Redacts one secret from one response.
pub(crate) struct Scrub {
    secret: Secret,
    plain: Search,
    /// The secret as it stood in the request's query, where that is another text.
    escaped: Option<(Zeroizing<Vec<u8>>, Search)>,
}

impl Scrub {
    /// For the answer to a request that carried the secret in this way.
    pub(crate) fn new(secret: Secret, auth: &Auth) -> Self {
        let escaped = match auth {
            Auth::Header { .. } => None,
            Auth::Query { .. } => Some(inject::escaped(&secret)),
        };
        let differs = |escaped: &Zeroizing<Vec<u8>>| **escaped != secret.expose();
        Self {
            plain: Search::of(secret.expose()),
            escaped: escaped.filter(differs).map(|escaped| {
                let search = Search::of(&escaped);
                (escaped, search)
            }),
            secret,
        }
    }

    /// What may go on to the client now. Can be empty: all of a chunk may have
    /// to wait for the next one.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Bytes {
        let passed = self.plain.push(chunk, self.secret.expose());
        match &mut self.escaped {
            Some((escaped, search)) => search.push(passed, escaped),
            None => passed,
        }
    }

    /// What was held back when the stream ended: it was not the secret.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        let held = self.plain.finish(self.secret.expose());
        let Some((escaped, search)) = &mut self.escaped else {
            return held;
        };
        let passed = held.map(|held| search.push(held, escaped));
        let pieces = [passed, search.finish(escaped)];
        let last = pieces.into_iter().flatten().collect::<Vec<_>>().concat();
        (!last.is_empty()).then(|| last.into())
    }

    /// Whether something is held back.
    pub(crate) fn holds(&self) -> bool {
        let escaped = self.escaped.as_ref();
        self.plain.held > 0 || escaped.is_some_and(|(_, search)| search.held > 0)
    }

    /// Masks the secret in header values, trailers included.
    pub(crate) fn headers(&self, headers: &mut HeaderMap) {
        self.plain.headers(headers, self.secret.expose());
        if let Some((escaped, search)) = &self.escaped {
            search.headers(headers, escaped);
        }
    }
}

/// The search for one form of the secret, which every method is given anew rather than copied.
struct Search {
    anchor: Anchor,
    /// How many bytes of the form the stream ended with: held back until the
    /// next chunk tells whether they are it.
    held: usize,
}

impl Search {
    fn of(form: &[u8]) -> Self {
        Self {
            anchor: Anchor::of(form),
            held: 0,
        }
    }

    fn push(&mut self, chunk: Bytes, form: &[u8]) -> Bytes {
        if form.len() < SHORTEST {
            return chunk;
        }
        if self.held == 0 && self.anchor.find(&chunk, form).is_none() {
            self.held = partial_at_end(&chunk, form);
            return chunk.slice(..chunk.len() - self.held);
        }
        let mut joined = BytesMut::with_capacity(self.held + chunk.len());
        joined.extend_from_slice(&form[..self.held]);
        joined.extend_from_slice(&chunk);
        mask(&mut joined, form, self.anchor);
        self.held = partial_at_end(&joined, form);
        joined.truncate(joined.len() - self.held);
        joined.freeze()
    }

    fn finish(&mut self, form: &[u8]) -> Option<Bytes> {
        let held = std::mem::take(&mut self.held);
        (held > 0).then(|| Bytes::copy_from_slice(&form[..held]))
    }

    fn headers(&self, headers: &mut HeaderMap, form: &[u8]) {
        if form.len() < SHORTEST {
            return;
        }
        for value in headers.values_mut() {
            if self.anchor.find(value.as_bytes(), form).is_some() {
                let mut bytes = value.as_bytes().to_vec();
                mask(&mut bytes, form, self.anchor);
                *value = HeaderValue::from_maybe_shared(Bytes::from(bytes))
                    .unwrap_or(HeaderValue::from_static("*"));
            }
        }
    }
}

fn mask(bytes: &mut [u8], secret: &[u8], anchor: Anchor) {
    let mut from = 0;
    while let Some(at) = anchor.find(&bytes[from..], secret) {
        let start = from + at;
        from = start + secret.len();
        bytes[start..from].fill(b'*');
    }
}

/// A shorter secret is likelier to be an ordinary word than an echo; masking it
/// would damage answers and show where it stands.
const SHORTEST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn scrub(secret: &str) -> Scrub {
        let auth = Auth::Query { name: "key".into() };
        Scrub::new(Secret::from_plaintext(secret.into()).unwrap(), &auth)
    }

    fn through(secret: &str, chunks: &[&[u8]]) -> Vec<u8> {
        let mut scrub = scrub(secret);
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend_from_slice(&scrub.push(Bytes::copy_from_slice(chunk)));
        }
        out.extend(scrub.finish().into_iter().flatten());
        out
    }

    #[test]
    fn a_secret_is_masked_at_every_pair_of_cuts() {
        let (secret, escaped) = ("sk+aasksk+aa1", "sk%2Baasksk%2Baa1");
        let body = format!("one {secret} sk+aa {secret}{secret} {escaped} sk%2Baa sk+aasks");
        let stars = |text: &str| "*".repeat(text.len());
        let expected = body
            .replace(secret, &stars(secret))
            .replace(escaped, &stars(escaped));
        let body = body.as_bytes();
        for a in 0..=body.len() {
            for b in a..=body.len() {
                let out = through(secret, &[&body[..a], &body[a..b], &body[b..]]);
                assert_eq!(out, expected.as_bytes(), "cut at {a} and {b}");
            }
        }
    }

    #[test]
    fn a_chunk_without_the_secret_is_passed_on_as_it_is() {
        let chunk = Bytes::from_static(b"data: {\"delta\":\"hello\"}\n\n");
        let passed = scrub("canary-0123456789").push(chunk.clone());
        assert_eq!(passed.as_ptr(), chunk.as_ptr());
    }

    #[test]
    fn a_header_that_echoes_the_secret_is_masked() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "location",
            "https://x/?k=canary-0123456789&a=1".parse().unwrap(),
        );
        scrub("canary-0123456789").headers(&mut headers);
        assert_eq!(headers["location"], "https://x/?k=*****************&a=1");
    }
}
