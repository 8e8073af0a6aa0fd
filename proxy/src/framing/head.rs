//! Finds the end of an HTTP/1.1 request's head, and the kind of body that follows.

use memchr::memchr_iter;

/// A head that is being received.
#[derive(Default)]
pub(super) struct Head {
    /// The bytes of earlier reads; empty if the head arrives in one read.
    begun: Vec<u8>,
    /// The start of the line that is not complete yet.
    line: usize,
    body: Body,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Body {
    #[default]
    None,
    Length(u64),
    Chunked,
    /// The HTTP/2 preface, which looks like a head.
    Http2,
    /// hyper refuses the request.
    Unknown,
}

impl Head {
    pub(super) fn len(&self) -> usize {
        self.begun.len()
    }

    /// Returns the body that follows once the head is complete, and the bytes after the head.
    pub(super) fn advance<'a>(&mut self, bytes: &'a [u8]) -> (Option<Body>, &'a [u8]) {
        if !self.begun.is_empty() {
            let mut begun = std::mem::take(&mut self.begun);
            let before = begun.len();
            begun.extend_from_slice(bytes);
            let end = self.scan(&begun, before);
            self.begun = begun;
            return self.split(end, bytes, before);
        }
        let bytes = without_blank_lines(bytes);
        let end = self.scan(bytes, 0);
        if end.is_none() {
            self.begun = bytes.to_vec();
        }
        self.split(end, bytes, 0)
    }

    fn split<'a>(
        &self,
        end: Option<usize>,
        bytes: &'a [u8],
        before: usize,
    ) -> (Option<Body>, &'a [u8]) {
        match end {
            Some(end) => (Some(self.body), &bytes[end - before..]),
            None => (None, &[]),
        }
    }

    /// The end of the head, if `bytes` contain it; the first `seen` of them were scanned before. A
    /// bare LF ends a line, as in httparse 1.10.
    fn scan(&mut self, bytes: &[u8], seen: usize) -> Option<usize> {
        for end in memchr_iter(b'\n', &bytes[seen..]).map(|at| seen + at) {
            let line = &bytes[self.line..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if bytes.starts_with(PREFACE) {
                // The preface ends with its fourth line, an empty one.
                let whole = end + 1 == PREFACE.len();
                self.body = Body::Http2;
                if whole {
                    return Some(PREFACE.len());
                }
            } else if line.is_empty() && !PREFACE.starts_with(bytes) {
                return Some(end + 1);
            } else if self.line > 0 {
                note(line, &mut self.body);
            }
            self.line = end + 1;
        }
        None
    }
}

/// Empty lines may precede a request (RFC 9112 section 2.2).
fn without_blank_lines(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = bytes.iter().position(|byte| !blank(byte));
    &bytes[start.unwrap_or(bytes.len())..]
}

/// Reads a field if it determines the body.
fn note(line: &[u8], body: &mut Body) {
    if !matches!(line.first(), Some(b't' | b'T' | b'c' | b'C')) {
        return;
    }
    let Some(colon) = memchr::memchr(b':', line) else {
        return;
    };
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"transfer-encoding") {
        *body = Body::Chunked;
    } else if name.eq_ignore_ascii_case(b"content-length") && *body != Body::Chunked {
        let length = std::str::from_utf8(value).ok();
        let length = length.and_then(|digits| digits.parse().ok());
        *body = match length {
            Some(0) => Body::None,
            Some(length) => Body::Length(length),
            None => Body::Unknown,
        };
    }
}

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
