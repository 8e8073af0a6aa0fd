//! Parses the frames that a WebSocket server sends (RFC 6455 section 5) as they pass.
//!
//! Keeps the header of the current frame and nothing of its payload. It does not know what messages
//! contain or what is done with them. A frame that no server may send is an error, and nothing
//! after it can be parsed.

/// Parses the bytes after the handshake.
#[derive(Default)]
pub(crate) struct Frames {
    /// Whether an extension was negotiated, which may compress messages (RFC 7692).
    extended: bool,
    header: Header,
    /// The current frame, and how many bytes of its payload are missing.
    payload: Option<(Frame, u64)>,
    /// The message whose next fragment is missing.
    fragmented: Option<Frame>,
}

/// What the parser reports of a frame while it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// The complete header.
    Header(Frame, &'a [u8]),
    /// A part of the payload, at least one byte.
    Payload(Frame, &'a [u8]),
    /// The frame is complete.
    End(Frame),
}

/// The properties of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The kind of its message, for a continuation frame too.
    pub(crate) kind: Kind,
    /// Whether its message is compressed.
    pub(crate) compressed: bool,
    /// Whether it is the last frame of a data message.
    pub(crate) ends_message: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Binary,
    /// A close, ping or pong frame: not part of a message, and allowed between the fragments of
    /// one.
    Control,
}

/// Why a frame cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a server's frame is masked")]
    Masked,
    #[error("a frame has a bit or an opcode that was not negotiated")]
    Reserved,
    #[error("a fragment belongs to no message, or a message begins within another")]
    OutOfOrder,
    #[error("a control frame is fragmented or longer than 125 bytes")]
    Control,
    #[error("a frame is longer than 2^63 bytes")]
    TooLong,
}

impl Frames {
    /// `extended` tells whether the handshake negotiated an extension.
    pub(crate) fn new(extended: bool) -> Self {
        Self {
            extended,
            ..Self::default()
        }
    }

    /// Reports to `sink` what `bytes` contain, in order. On an error, everything before the bad
    /// frame has been reported.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(Part<'_>),
    ) -> Result<(), FrameError> {
        while let Some(next) = bytes.first() {
            let (frame, left) = match self.payload {
                Some(payload) => payload,
                None => {
                    bytes = &bytes[1..];
                    let Some((frame, length)) = self.header(*next)? else {
                        continue;
                    };
                    let header = std::mem::take(&mut self.header);
                    sink(Part::Header(frame, &header.bytes[..header.len]));
                    (frame, length)
                }
            };
            let len = usize::try_from(left).unwrap_or(usize::MAX);
            let (part, rest) = bytes.split_at(len.min(bytes.len()));
            if !part.is_empty() {
                sink(Part::Payload(frame, part));
            }
            let left = left - part.len() as u64;
            self.payload = (left > 0).then_some((frame, left));
            if left == 0 {
                sink(Part::End(frame));
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Reads one byte of a header. After the last one, returns the frame and the length of its
    /// payload.
    fn header(&mut self, byte: u8) -> Result<Option<(Frame, u64)>, FrameError> {
        self.header.bytes[self.header.len] = byte;
        self.header.len += 1;
        let [first, second, ..] = self.header.bytes;
        if self.header.len < 2 {
            return Ok(None);
        }
        if self.header.len == 2 {
            self.check(first, second)?;
        }
        let Some(length) = self.header.payload_length()? else {
            return Ok(None);
        };
        Ok(Some((self.begin(first), length)))
    }

    fn check(&self, first: u8, second: u8) -> Result<(), FrameError> {
        if second & MASKED != 0 {
            return Err(FrameError::Masked);
        }
        let opcode = first & OPCODE;
        // Only the first frame of a message has the compression bit (RFC 7692 section 6).
        let agreed = match self.extended && matches!(opcode, TEXT | BINARY) {
            true => COMPRESSED,
            false => 0,
        };
        if first & RESERVED & !agreed != 0 {
            return Err(FrameError::Reserved);
        }
        match opcode {
            CONTINUATION if self.fragmented.is_none() => Err(FrameError::OutOfOrder),
            TEXT | BINARY if self.fragmented.is_some() => Err(FrameError::OutOfOrder),
            CONTINUATION | TEXT | BINARY => Ok(()),
            CLOSE | PING | PONG if first & FINAL == 0 || second > LONGEST_CONTROL => {
                Err(FrameError::Control)
            }
            CLOSE | PING | PONG => Ok(()),
            _ => Err(FrameError::Reserved),
        }
    }

    fn begin(&mut self, first: u8) -> Frame {
        let (compressed, last) = (first & COMPRESSED != 0, first & FINAL != 0);
        let of = |kind| Frame {
            kind,
            compressed,
            ends_message: last,
        };
        let frame = match first & OPCODE {
            TEXT => of(Kind::Text),
            BINARY => of(Kind::Binary),
            CONTINUATION => Frame {
                ends_message: last,
                ..self.fragmented.unwrap_or(of(Kind::Binary))
            },
            _ => {
                return Frame {
                    ends_message: false,
                    ..of(Kind::Control)
                };
            }
        };
        self.fragmented = (!last).then_some(frame);
        frame
    }
}

/// A header that is being received.
#[derive(Default)]
struct Header {
    bytes: [u8; HEADER],
    len: usize,
}

impl Header {
    /// `None` while bytes of the length are missing.
    fn payload_length(&self) -> Result<Option<u64>, FrameError> {
        let [_, second, length @ ..] = self.bytes;
        let [high, low, ..] = length;
        let length: u64 = match (second, self.len) {
            (126, 4) => u16::from_be_bytes([high, low]).into(),
            (127, HEADER) => u64::from_be_bytes(length),
            (126 | 127, _) => return Ok(None),
            (short, _) => short.into(),
        };
        match length >> 63 {
            0 => Ok(Some(length)),
            _ => Err(FrameError::TooLong),
        }
    }
}

/// Two bytes and up to eight for the length. A mask would follow, but servers do not mask.
const HEADER: usize = 10;
/// Bytes of a control frame's payload (RFC 6455 section 5.5).
const LONGEST_CONTROL: u8 = 125;

// Bits and opcodes of the first two bytes of a frame (RFC 6455 section 5.2).
const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// The first reserved bit, as RFC 7692 uses it.
const COMPRESSED: u8 = 0x40;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

#[cfg(test)]
mod tests;
