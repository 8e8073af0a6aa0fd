//! A strict parser of a byte stream into messages.
//!
//! Intentionally written by hand: a library would accept or hide the bytes under test.

use std::io::{self, Read};

use super::message::{Ending, Message};

/// Reads messages from one side of a connection.
pub struct Reader<S> {
    stream: S,
    buffer: Vec<u8>,
    taken: usize,
    raw: Vec<u8>,
    body: Body,
    trailers: Vec<(String, String)>,
}

/// The unread rest of the current body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Left(u64),
    Chunk(u64),
    ToClose,
    Done(Ending),
}

impl<S: Read> Reader<S> {
    pub fn new(stream: S) -> Self {
        let (buffer, raw, trailers) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            stream,
            buffer,
            taken: 0,
            raw,
            body: Body::Done(Ending::Empty),
            trailers,
        }
    }

    /// The stream itself, to write to.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The next message, whole; `None` when the connection ends before its first byte.
    /// `request` is the method that a response answers, empty while reading requests.
    pub fn message(&mut self, request: &str) -> io::Result<Option<Message>> {
        let Some(mut message) = self.head(request)? else {
            return Ok(None);
        };
        while let Some(piece) = self.piece()? {
            message.body.extend_from_slice(&piece);
        }
        message.ending = self.ending();
        message.trailers = std::mem::take(&mut self.trailers);
        message.raw = std::mem::take(&mut self.raw);
        Ok(Some(message))
    }

    /// The next message up to the empty line; its body follows through [`Reader::piece`].
    pub fn head(&mut self, request: &str) -> io::Result<Option<Message>> {
        self.raw.clear();
        let Some(start) = self.line()? else {
            return Ok(None);
        };
        let headers = self.fields()?;
        let mut message = Message {
            start,
            headers,
            body: Vec::new(),
            trailers: Vec::new(),
            ending: Ending::Empty,
            raw: self.raw.clone(),
        };
        self.body = framing(&message, request)?;
        if let Body::Done(ending) = self.body {
            message.ending = ending;
        }
        Ok(Some(message))
    }

    /// The next bytes of the present body, as they come; `None` at its end.
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Body::Chunk(0) = self.body {
            self.next_chunk()?;
        }
        let most = match self.body {
            Body::Left(left) | Body::Chunk(left) => left,
            Body::ToClose => u64::MAX,
            Body::Done(_) => return Ok(None),
        };
        let piece = self.some(most)?;
        let got = piece.len() as u64;
        self.body = match self.body {
            Body::ToClose if got == 0 => Body::Done(Ending::Close),
            _ if got == 0 => Body::Done(Ending::Cut),
            Body::Left(left) if left == got => Body::Done(Ending::Length),
            Body::Left(left) => Body::Left(left - got),
            Body::Chunk(left) if left == got => self.chunk_end()?,
            Body::Chunk(left) => Body::Chunk(left - got),
            other => other,
        };
        Ok(if got == 0 { None } else { Some(piece) })
    }

    /// How the body that [`Reader::piece`] has just finished ended.
    pub fn ending(&self) -> Ending {
        match self.body {
            Body::Done(ending) => ending,
            _ => panic!("the body has not ended yet"),
        }
    }

    /// The next bytes, without parsing; empty at the connection's end.
    pub fn some(&mut self, most: u64) -> io::Result<Vec<u8>> {
        if self.taken == self.buffer.len() && !self.fill()? {
            return Ok(Vec::new());
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let end = self.buffer.len().min(self.taken.saturating_add(most));
        let piece = self.buffer[self.taken..end].to_vec();
        self.take_to(end);
        Ok(piece)
    }

    /// Waits until there is something to read, or nothing ever will be.
    pub fn peek(&mut self) -> io::Result<bool> {
        if self.taken < self.buffer.len() {
            return Ok(true);
        }
        self.fill()
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let Some(size) = self.line()? else {
            self.body = Body::Done(Ending::Cut);
            return Ok(());
        };
        let digits = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16)
            .map_err(|_| malformed(&format!("chunk size {size:?}")))?;
        self.body = Body::Chunk(size);
        if size == 0 {
            self.trailers = self.fields()?;
            self.body = Body::Done(Ending::Chunked);
        }
        Ok(())
    }

    fn chunk_end(&mut self) -> io::Result<Body> {
        match self.line()?.as_deref() {
            Some("") => Ok(Body::Chunk(0)),
            Some(other) => Err(malformed(&format!("{other:?} after a chunk"))),
            None => Ok(Body::Done(Ending::Cut)),
        }
    }

    fn fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self
                .line()?
                .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| malformed(&format!("header line {line:?}")))?;
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// One line that ends in CR LF and in nothing else; `None` when the connection ends first.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut seen = self.taken;
        loop {
            if let Some(at) = self.buffer[seen..].iter().position(|byte| *byte == b'\n') {
                let end = seen + at;
                let line = self.buffer[self.taken..end].to_vec();
                self.take_to(end + 1);
                let line = line
                    .strip_suffix(b"\r")
                    .ok_or_else(|| malformed("a bare LF"))?;
                return Ok(Some(String::from_utf8_lossy(line).into_owned()));
            }
            seen = self.buffer.len() - self.taken;
            if !self.fill()? {
                return Ok(None);
            }
            // `fill` moves what is left to the front.
            debug_assert_eq!(self.taken, 0);
        }
    }

    /// Reads once; `false` at the end of the connection, which a reset counts as.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let mut block = vec![0; 64 * 1024];
        let got = match self.stream.read(&mut block) {
            Ok(got) => got,
            Err(error) if is_end(&error) => 0,
            Err(error) => return Err(error),
        };
        self.buffer.extend_from_slice(&block[..got]);
        Ok(got > 0)
    }

    fn take_to(&mut self, end: usize) {
        self.raw.extend_from_slice(&self.buffer[self.taken..end]);
        self.taken = end;
    }
}

fn framing(message: &Message, request: &str) -> io::Result<Body> {
    let response = message.start.starts_with("HTTP/");
    let coding = message.header("transfer-encoding");
    let length = message.header("content-length");
    if response && bodiless(message.status(), request) {
        return Ok(Body::Done(Ending::Empty));
    }
    match (coding, length) {
        (Some("chunked"), None) => Ok(Body::Chunk(0)),
        (None, Some(length)) => match length.parse() {
            Ok(0) => Ok(Body::Done(Ending::Length)),
            Ok(length) => Ok(Body::Left(length)),
            Err(_) => Err(malformed(&format!("content-length {length:?}"))),
        },
        (None, None) if response => Ok(Body::ToClose),
        (None, None) => Ok(Body::Done(Ending::Empty)),
        other => Err(malformed(&format!("framing {other:?}"))),
    }
}

fn bodiless(status: u16, request: &str) -> bool {
    request == "HEAD" || status < 200 || status == 204 || status == 304
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP/1.1: {what}"))
}
