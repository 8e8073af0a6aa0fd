//! Splits the bytes of an HTTP/2 connection into frames (RFC 9113 section 4.1) as they arrive.

/// The state of splitting one direction of a connection.
#[derive(Default)]
pub(crate) struct Frames {
    /// The frame's header, while it is being received.
    header: [u8; HEADER],
    have: usize,
    /// Bytes of the frame's payload that are still missing.
    left: usize,
}

/// The fields of a frame's header.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

/// A part of a frame: the payload that one read brought.
pub(crate) struct Part<'a> {
    pub(crate) frame: Frame,
    pub(crate) payload: &'a [u8],
    /// This is the first part of its frame.
    pub(crate) first: bool,
    /// This is the last part of its frame.
    pub(crate) last: bool,
}

impl Frames {
    /// Takes the next part off `bytes`. `None` once they are used up.
    pub(crate) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Part<'a>> {
        let first = self.have < HEADER;
        if first {
            let header = take(bytes, HEADER - self.have);
            self.header[self.have..self.have + header.len()].copy_from_slice(header);
            self.have += header.len();
            if self.have < HEADER {
                return None;
            }
            let [a, b, c, ..] = self.header;
            self.left = u32::from_be_bytes([0, a, b, c]) as usize;
        } else if bytes.is_empty() {
            return None;
        }
        let payload = take(bytes, self.left);
        self.left -= payload.len();
        let last = self.left == 0;
        if last {
            self.have = 0;
        }
        Some(Part {
            frame: self.frame(),
            payload,
            first,
            last,
        })
    }

    fn frame(&self) -> Frame {
        let [.., kind, flags, a, b, c, d] = self.header;
        Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([a, b, c, d]) & !RESERVED,
        }
    }
}

impl Frame {
    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn take<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    taken
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

/// Flag of DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 0x1;
/// Flag of HEADERS and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 0x4;
/// Flag of HEADERS.
pub(crate) const PADDED: u8 = 0x8;
/// Flag of HEADERS.
pub(crate) const PRIORITY: u8 = 0x20;

const HEADER: usize = 9;
const RESERVED: u32 = 1 << 31;
