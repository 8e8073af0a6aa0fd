//! Redacts a credential's secrets where an upstream echoes them, plain or escaped ([`forms`]).
//!
//! A mask has as many bytes as what it covers, so that a body keeps its `Content-Length` and a WebSocket frame its size.
//! Runs once for every chunk of a response; costs one search for what escapes begin with and one for each secret. Without
//! a match nothing is copied but what a chunk ends with that may become one.

mod forms;
mod needles;

use bytes::{Buf, Bytes, BytesMut};
use forms::Case;
use http::{HeaderMap, HeaderName, HeaderValue};
use keyside_credentials::Secret;
use needles::{Extent, Found, Needles};
use zeroize::{Zeroize, Zeroizing};

use crate::hop::retain;

/// Redacts the secrets of one credential from one response.
pub(crate) struct Scrub {
    needles: Needles,
    /// What the stream ended with, if that is the beginning of a secret: the next chunk tells whether it is one.
    held: Zeroizing<Vec<u8>>,
    /// How much of that the client has already.
    released: usize,
}

impl Scrub {
    /// For the answer to a request that carried `secret`. Its provider may know `others` too, from before.
    pub(crate) fn new(secret: Secret, others: Vec<Secret>) -> Self {
        Self {
            needles: Needles::new(std::iter::once(secret).chain(others)),
            held: Zeroizing::default(),
            released: 0,
        }
    }

    /// What may go on to the client now. Can be empty: all of a chunk may have to wait for the next one.
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

    /// What was held back when the stream ended: it was not a secret.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        let mut held = std::mem::take(&mut self.held);
        let released = std::mem::take(&mut self.released);
        self.needles.mask(&mut held, Case::Exact, Extent::Complete);
        let rest = &held[released..];
        (!rest.is_empty()).then(|| Bytes::copy_from_slice(rest))
    }

    /// What is held back, for a client that must not wait for the rest of it: masked, unless it is so little that it tells
    /// nothing. The search goes on as if it were still held.
    pub(crate) fn release(&mut self) -> Bytes {
        let mut bytes = BytesMut::from(&self.held[self.released..]);
        if self.held.len() >= MIN_MASKED {
            bytes.fill(b'*');
        }
        self.released = self.held.len();
        bytes.freeze()
    }

    /// How many bytes the client has yet to get of what was pushed.
    pub(crate) fn withheld(&self) -> usize {
        self.held.len() - self.released
    }

    /// Whether something is held back.
    pub(crate) fn holds(&self) -> bool {
        self.withheld() > 0
    }

    /// Masks secrets in a text that is no part of the stream.
    pub(crate) fn mask(&self, text: &mut [u8]) {
        self.needles.mask(text, Case::Exact, Extent::Complete);
    }

    /// Masks secrets in header values, and drops headers that have one in their name, trailers included.
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
        // Nearly every field is shorter than a secret.
        self.needles.fit_in(field.len())
            && self
                .needles
                .first(field, Case::Ignored, Extent::Complete)
                .is_some()
    }

    fn hold(&mut self, beginning: &[u8]) {
        // In a buffer of its own size: one that grew would leave what it held behind, unwiped.
        self.held = Zeroizing::new(beginning.to_vec());
    }
}

/// From how many bytes on the beginning of a secret is masked rather than passed on. Every key of a provider's begins with
/// the same few.
const MIN_MASKED: usize = 4;

#[cfg(test)]
mod tests;
