//! HTTP/2 frames by hand (RFC 9113), to send what no well-behaved client sends and to inspect
//! frames. The server's side is in [`super::h2_session`].

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::PATIENCE;

/// One side of a connection, a client's by default.
pub struct Frames<S = TcpStream> {
    stream: S,
}

/// A frame that arrived.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
/// Acknowledges settings and pings.
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Settings with the largest stream window (RFC 9113, section 6.5.2).
pub const WIDE_STREAMS: &[u8] = &[0, 4, 0x7f, 0xff, 0xff, 0xff];
/// Settings under which a stream gets nothing until its window is opened.
pub const NO_STREAM_WINDOW: &[u8] = &[0, 4, 0, 0, 0, 0];
/// Opens the connection's window to its maximum: by 2^31 - 1 minus the initial 65,535 bytes.
pub const WIDE_CONNECTION: &[u8] = &[0x7f, 0xff, 0, 0];

/// The result of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// A response; its first byte only shows whether the status is 200.
    Answered { ok: bool },
    /// The stream was reset.
    Reset,
    /// The connection was ended, with a GOAWAY or without.
    Gone,
}

impl Frames {
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &[])
    }

    /// A client that lets the server send everything, whether or not it reads it.
    pub fn connect_wide(address: SocketAddr) -> Self {
        let mut frames = Self::connect_with(address, WIDE_STREAMS);
        frames.write(WINDOW_UPDATE, 0, 0, WIDE_CONNECTION);
        frames
    }

    pub fn connect_with(address: SocketAddr, settings: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).expect("a listener");
        stream.set_nodelay(true).expect("a TCP socket");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a TCP socket");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a TCP socket");
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .expect("a reader");
        let mut frames = Self { stream };
        frames.write(SETTINGS, 0, 0, settings);
        frames
    }
}

impl<S: Read + Write> Frames<S> {
    /// Over a stream whose preface was read or written.
    pub fn over(stream: S) -> Self {
        Self { stream }
    }

    /// Writes a frame; `false` when the peer has gone.
    pub fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.write_raw(&frame(kind, flags, stream, payload))
    }

    /// Writes whole frames at once; `false` when the peer has gone.
    pub fn write_raw(&mut self, frames: &[u8]) -> bool {
        let written = self.stream.write_all(frames);
        written.and_then(|()| self.stream.flush()).is_ok()
    }

    /// The next frame; `None` at the connection's end.
    pub fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.filled(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.filled(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        })
    }

    /// Reads until the result of `stream` is known.
    pub fn fate(&mut self, stream: u32) -> Fate {
        while let Some(frame) = self.read() {
            match frame.kind {
                GOAWAY => return Fate::Gone,
                RST_STREAM if frame.stream == stream => return Fate::Reset,
                // 0x88 is ":status: 200" of the static table (RFC 7541, appendix A).
                HEADERS if frame.stream == stream => {
                    return Fate::Answered {
                        ok: frame.payload.first() == Some(&0x88),
                    };
                }
                _ => {}
            }
        }
        Fate::Gone
    }

    /// Every frame before the response to our ping: all frames that the peer sent before it read
    /// the ping.
    pub fn until_pong(&mut self) -> Vec<Frame> {
        let mut seen = Vec::new();
        self.write(PING, 0, 0, &[7; 8]);
        while let Some(frame) = self.read() {
            if frame.kind == PING && frame.flags & ACK != 0 {
                return seen;
            }
            seen.push(frame);
        }
        panic!("closed before the answer to a ping, after {seen:?}")
    }

    fn filled(&mut self, buffer: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(buffer) {
            Ok(()) => Some(()),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {
                panic!("{} s of silence", PATIENCE.as_secs())
            }
            Err(_) => None,
        }
    }
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a small frame")
        .to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header block of literal fields that enter no table (RFC 7541, section 6.2.2).
pub fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_bytes(), value] {
            assert!(text.len() < 127, "a length of one byte");
            block.push(u8::try_from(text.len()).expect("a short text"));
            block.extend_from_slice(text);
        }
    }
    block
}
