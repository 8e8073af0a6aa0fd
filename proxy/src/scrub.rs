//! Redacts the request's secret where an upstream echoes it.
//!
//! The mask has the secret's length, so that a body keeps its `Content-Length`
//! and a WebSocket frame its size. Runs once for every chunk of a response;
//! costs one substring search and, without a match, no copy.

use crate::search::{Anchor, partial_at_end};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use keyside_credentials::Secret;

/// Redacts one secret from one response.
pub(crate) struct Scrub {
    secret: Secret,
    anchor: Anchor,
    /// How many bytes of the secret the stream ended with: held back until the
    /// next chunk tells whether they are it.
    held: usize,
}

impl Scrub {
    pub(crate) fn new(secret: Secret) -> Self {
        let anchor = Anchor::of(secret.expose());
        Self {
            secret,
            anchor,
            held: 0,
        }
    }

    /// What may go on to the client now. Can be empty: all of a chunk may have
    /// to wait for the next one.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Bytes {
        let secret = self.secret.expose();
        if secret.len() < SHORTEST {
            return chunk;
        }
        if self.held == 0 && self.anchor.find(&chunk, secret).is_none() {
            self.held = partial_at_end(&chunk, secret);
            return chunk.slice(..chunk.len() - self.held);
        }
        let mut joined = BytesMut::with_capacity(self.held + chunk.len());
        joined.extend_from_slice(&secret[..self.held]);
        joined.extend_from_slice(&chunk);
        mask(&mut joined, secret, self.anchor);
        self.held = partial_at_end(&joined, secret);
        joined.truncate(joined.len() - self.held);
        joined.freeze()
    }

    /// What was held back when the stream ended: it was not the secret.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        let held = std::mem::take(&mut self.held);
        (held > 0).then(|| Bytes::copy_from_slice(&self.secret.expose()[..held]))
    }

    /// Whether something is held back.
    pub(crate) fn holds(&self) -> bool {
        self.held > 0
    }

    /// Masks the secret in header values, trailers included.
    pub(crate) fn headers(&self, headers: &mut HeaderMap) {
        let secret = self.secret.expose();
        if secret.len() < SHORTEST {
            return;
        }
        for value in headers.values_mut() {
            if self.anchor.find(value.as_bytes(), secret).is_some() {
                let mut bytes = value.as_bytes().to_vec();
                mask(&mut bytes, secret, self.anchor);
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
        Scrub::new(Secret::from_plaintext(secret.into()).unwrap())
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
        let secret = "sk-aasksk-aa1";
        let body = format!("one {secret} two sk-aa {secret}{secret} sk-aasks");
        let expected = body.replace(secret, &"*".repeat(secret.len()));
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
