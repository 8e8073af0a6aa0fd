//! Refuses framing that hyper and h2 accept although RFC 9112 and RFC 9113 forbid it: another
//! server could see the end of one request and the beginning of the next there.
//!
//! | what | read by |
//! |---|---|
//! | a chunk extension without a name or with control bytes | hyper 1.12: skips it up to the CRLF |
//! | a bare LF after the last chunk | hyper 1.12: takes it for a trailer and waits for the rest |
//! | HTTP/2 trailers with pseudo-header fields | h2 0.4: drops them silently |
//!
//! Reads the client's bytes on their way to hyper and changes none. It decides nothing else about a
//! request: without an error, hyper's reading applies. Runs once for each read. Costs one pass over
//! a head; of a body it reads only chunk size lines, frame headers and field blocks.

mod chunked;
mod head;
mod hpack;
mod http2;

use std::io;

use chunked::Chunked;
use head::{Body, Head};
use http2::Http2;

/// Checks the framing of one connection's incoming bytes.
pub(crate) struct Framing {
    state: State,
    head_limit: usize,
}

enum State {
    Head(Head),
    /// A body with this many bytes left.
    Length(u64),
    Chunked(Chunked),
    Http2(Http2),
    /// Bytes of a tunnel, or after a head that hyper refuses.
    Unchecked,
}

/// What is wrong with the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FramingError {
    #[error("a chunk of the request's body is malformed")]
    Chunk,
    #[error("the trailers of a request have pseudo-header fields")]
    Trailers,
    #[error("the header fields of a request are malformed or too long")]
    Fields,
}

impl From<FramingError> for io::Error {
    fn from(error: FramingError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl Framing {
    /// For a new connection. hyper refuses a head that is longer than `head_limit` bytes.
    pub(crate) fn new(head_limit: usize) -> Self {
        Self {
            state: State::Head(Head::default()),
            head_limit,
        }
    }

    /// Called once the connection is a tunnel.
    pub(crate) fn stop(&mut self) {
        self.state = State::Unchecked;
    }

    /// Checks the next bytes. An error comes with the number of bytes that belong to messages
    /// before it: a head among them can still be answered.
    pub(crate) fn check(&mut self, bytes: &[u8]) -> Result<(), (FramingError, usize)> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let before = bytes.len() - rest.len();
            rest = self.advance(rest).map_err(|error| (error, before))?;
        }
        Ok(())
    }

    /// Consumes a part of `bytes`, which are not empty, and returns the rest.
    fn advance<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], FramingError> {
        match &mut self.state {
            State::Unchecked => Ok(&[]),
            State::Http2(http2) => http2.check(bytes).map(|()| &bytes[bytes.len()..]),
            State::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX);
                let taken = taken.min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::Head(Head::default());
                }
                Ok(&bytes[taken..])
            }
            State::Chunked(chunked) => {
                let rest = chunked.advance(bytes)?;
                if chunked.is_over() {
                    self.state = State::Head(Head::default());
                }
                Ok(rest)
            }
            State::Head(head) => {
                let (body, rest) = head.advance(bytes);
                match body {
                    Some(body) => self.state = state_after(body),
                    None if head.len() > self.head_limit => self.state = State::Unchecked,
                    None => {}
                }
                Ok(rest)
            }
        }
    }
}

fn state_after(body: Body) -> State {
    match body {
        Body::None => State::Head(Head::default()),
        Body::Length(length) => State::Length(length),
        Body::Chunked => State::Chunked(Chunked::default()),
        Body::Http2 => State::Http2(Http2::default()),
        Body::Unknown => State::Unchecked,
    }
}

#[cfg(test)]
mod tests;
