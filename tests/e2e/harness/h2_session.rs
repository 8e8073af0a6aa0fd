//! The server's side of HTTP/2 frame by frame: a provider that refuses streams, sends GOAWAY or
//! breaks off on demand.

use std::{
    collections::HashMap,
    io::Read,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{
    Keyside, Upstream,
    frames::{
        ACK, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, RST_STREAM,
        SETTINGS, WIDE_CONNECTION, WIDE_STREAMS, WINDOW_UPDATE,
    },
    tls::{Authority, VALID},
    upstream::Stream,
};

/// A connection from Keyside.
pub type Session<'a> = Frames<&'a mut Box<dyn Stream>>;

/// Error codes (RFC 9113, section 7).
pub const NO_ERROR: u32 = 0;
pub const REFUSED_STREAM: u32 = 7;

/// Keyside with workspace `acme` and its OpenAI key, and a fake OpenAI that runs `script` on each
/// connection, with the connection's number from 0. The connection closes when the script ends.
pub fn over_frames(
    script: impl Fn(usize, &mut Session<'_>) + Send + Sync + 'static,
) -> (Upstream, Keyside) {
    let (upstream, builder) = frames_for(script);
    (upstream, builder.start().with_key())
}

/// The same, not started yet.
pub fn frames_for(
    script: impl Fn(usize, &mut Session<'_>) + Send + Sync + 'static,
) -> (Upstream, super::Builder) {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"], VALID);
    let connections = AtomicUsize::new(0);
    let upstream = identity.raw_upstream(&["h2"], move |line| {
        let number = connections.fetch_add(1, Ordering::SeqCst);
        if let Some(mut session) = accept(line.stream()) {
            script(number, &mut session);
        }
    });
    let builder = authority.trusted_at(&upstream.url_for("localhost"));
    (upstream, builder)
}

/// Reads the preface, and opens all windows to the client.
fn accept(stream: &mut Box<dyn Stream>) -> Option<Session<'_>> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).ok()?;
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let mut session = Frames::over(stream);
    session.write(SETTINGS, 0, 0, WIDE_STREAMS);
    session.write(WINDOW_UPDATE, 0, 0, WIDE_CONNECTION);
    Some(session)
}

impl Session<'_> {
    /// The next frame of a stream; `None` at the connection's end.
    pub fn event(&mut self) -> Option<Frame> {
        loop {
            let frame = self.read()?;
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => {
                    self.write(SETTINGS, ACK, 0, &[]);
                }
                PING if frame.flags & ACK == 0 => {
                    self.write(PING, ACK, 0, &frame.payload);
                }
                DATA | HEADERS | RST_STREAM => return Some(frame),
                _ => {}
            }
        }
    }

    /// Sends a complete response. The body must fit into one frame.
    pub fn answer(&mut self, stream: u32, status: u16, body: impl AsRef<[u8]>) -> bool {
        // 8 is ":status" in the static table; its value follows (RFC 7541, section 6.2.2 and
        // appendix A).
        let head = [&[8, 3], status.to_string().as_bytes()].concat();
        self.write(HEADERS, END_HEADERS, stream, &head)
            && self.write(DATA, END_STREAM, stream, body.as_ref())
    }

    /// Announces a response with `103 Early Hints`.
    pub fn early_hints(&mut self, stream: u32) -> bool {
        self.write(HEADERS, END_HEADERS, stream, &[8, 3, b'1', b'0', b'3'])
    }

    /// Resets a stream.
    pub fn reset(&mut self, stream: u32, code: u32) -> bool {
        self.write(RST_STREAM, 0, stream, &code.to_be_bytes())
    }

    /// Sends a GOAWAY: no stream above `last` was or will be processed.
    pub fn go_away(&mut self, last: u32) -> bool {
        let payload = [last.to_be_bytes(), NO_ERROR.to_be_bytes()].concat();
        self.write(GOAWAY, 0, 0, &payload)
    }
}

/// Requests whose bodies are still coming, by stream.
#[derive(Default)]
pub struct Bodies(HashMap<u32, Vec<u8>>);

impl Bodies {
    /// Adds a frame. Returns the body of the request that ends with it.
    pub fn take(&mut self, frame: &Frame) -> Option<Vec<u8>> {
        if frame.kind == RST_STREAM {
            self.0.remove(&frame.stream);
            return None;
        }
        let body = self.0.entry(frame.stream).or_default();
        if frame.kind == DATA {
            body.extend_from_slice(&frame.payload);
        }
        match frame.flags & END_STREAM {
            0 => None,
            _ => self.0.remove(&frame.stream),
        }
    }

    /// Number of bytes of a body received so far.
    pub fn so_far(&self, stream: u32) -> usize {
        self.0.get(&stream).map_or(0, Vec::len)
    }
}
