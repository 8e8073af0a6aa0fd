//! Redacts a credential's secrets if an upstream echoes them, plain or escaped ([`forms`]).
//!
//! A mask is as long as the text it covers, so that a body keeps its `Content-Length` and a
//! WebSocket frame its size. Runs once for each chunk of a response. Costs one search for the first
//! byte of escapes and one for each secret. Without a match nothing is copied except the end of a
//! chunk that may be the beginning of a secret.

mod forms;
mod needles;

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use forms::Case;
use http::{HeaderMap, HeaderName, HeaderValue};
use keyside_credentials::Secret;
use needles::{Extent, Found, Needles};
use zeroize::{Zeroize, Zeroizing};

use crate::hop::retain;

/// Redacts the secrets of one credential from one response.
pub(crate) struct Scrub {
    needles: Arc<Needles>,
    /// The end of the stream if it may be the beginning of a secret; the next chunk decides.
    held: Zeroizing<Vec<u8>>,
    /// How many of the held bytes the client has already received.
    released: usize,
}

impl Scrub {
    /// For the response to a request that carried `secret`. The provider may also know `others`,
    /// the credential's earlier secrets.
    pub(crate) fn new(secret: Secret, others: Vec<Secret>) -> Self {
        Self {
            needles: Arc::new(Needles::new(std::iter::once(secret).chain(others))),
            held: Zeroizing::default(),
            released: 0,
        }
    }

    /// Redacts the same secrets from another stream, such as the text that a response contains.
    pub(crate) fn for_another_stream(&self) -> Self {
        Self {
            needles: self.needles.clone(),
            held: Zeroizing::default(),
            released: 0,
        }
    }

    /// Redacts a chunk and returns the bytes that may be sent to the client now. Can be empty, if
    /// all of the chunk must wait for the next one.
    pub(crate) fn push(&mut self, mut chunk: Bytes) -> Bytes {
        if self.held.is_empty() {
            match self.needles.first(&chunk, Case::Exact, Extent::Partial) {
                None => return chunk,
                Some((start, Found::Incomplete)) => {
                    self.hold(&chunk.split_off(start));
                    return chunk;
                }
                Some(_) => {}
            }
        }
        let mut joined = BytesMut::with_capacity(self.held.len() + chunk.len());
        joined.extend_from_slice(&self.held);
        joined.extend_from_slice(&chunk);
        let end = self.needles.mask(&mut joined, Case::Exact, Extent::Partial);
        let released = std::mem::take(&mut self.released);
        self.hold(&joined[end..]);
        self.released = released.saturating_sub(end);
        joined[end..].zeroize();
        joined.truncate(end);
        joined.advance(released.min(end));
        joined.freeze()
    }

    /// The held bytes at the end of the stream: they were not a secret.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        let mut held = std::mem::take(&mut self.held);
        let released = std::mem::take(&mut self.released);
        self.needles.mask(&mut held, Case::Exact, Extent::Complete);
        let rest = &held[released..];
        (!rest.is_empty()).then(|| Bytes::copy_from_slice(rest))
    }

    /// The held bytes, for a client that must not wait for the rest. They are masked, unless they
    /// are too few to reveal anything. The search continues as if they were still held.
    pub(crate) fn release(&mut self) -> Bytes {
        let mut bytes = BytesMut::from(&self.held[self.released..]);
        if self.held.len() >= MIN_MASKED {
            bytes.fill(b'*');
        }
        self.released = self.held.len();
        bytes.freeze()
    }

    /// How many of the pushed bytes the client has not received yet.
    pub(crate) fn withheld(&self) -> usize {
        self.held.len() - self.released
    }

    /// Whether bytes are held back.
    pub(crate) fn holds(&self) -> bool {
        self.withheld() > 0
    }

    /// Masks secrets in a text that is not part of the stream.
    pub(crate) fn mask(&self, text: &mut [u8]) {
        self.needles.mask(text, Case::Exact, Extent::Complete);
    }

    /// Masks secrets in header values and removes headers whose name contains one. Used for
    /// trailers too.
    pub(crate) fn headers(&self, headers: &mut HeaderMap) {
        retain(headers, |name| !self.is_named_by(name));
        for value in headers.values_mut() {
            if self.is_in(value.as_bytes()) {
                let mut bytes = value.as_bytes().to_vec();
                self.needles
                    .mask(&mut bytes, Case::Ignored, Extent::Complete);
                *value = HeaderValue::from_maybe_shared(Bytes::from(bytes))
                    .unwrap_or(HeaderValue::from_static("*"));
            }
        }
    }

    fn is_named_by(&self, name: &HeaderName) -> bool {
        self.is_in(name.as_str().as_bytes())
    }

    fn is_in(&self, field: &[u8]) -> bool {
        // Skips nearly every field, since most are shorter than a secret.
        self.needles.fit_in(field.len())
            && self
                .needles
                .first(field, Case::Ignored, Extent::Complete)
                .is_some()
    }

    fn hold(&mut self, beginning: &[u8]) {
        // Allocated at its exact size: a buffer that grows would leave an unwiped copy behind.
        self.held = Zeroizing::new(beginning.to_vec());
    }
}

/// The beginning of a secret is masked from this many bytes on. All keys of a provider share the
/// first few.
const MIN_MASKED: usize = 4;

#[cfg(test)]
mod tests;
