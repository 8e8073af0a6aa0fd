//! Follows HTTP/2 frames (RFC 9113 section 4.1) and looks into the first field of trailers.
//!
//! Pseudo-header fields come before all others, or h2 itself refuses them; so it is enough to know whether the first
//! field is one. A name that only the connection's own table has (RFC 7541 section 2.3.2) cannot be known without decoding
//! all that came before; it passes, as clients refer so to trailers that they have sent before. Of a pseudo-header field
//! that hides there h2 takes no note, and nothing of it leaves.

use super::FramingError;

/// A connection's frames, as far as they have come.
#[derive(Default)]
pub(super) struct Frames {
    /// The frame's header, while it comes.
    header: [u8; HEADER],
    have: usize,
    /// How much of the frame's payload is still to come.
    payload: usize,
    /// The beginning of the frame's payload, where that belongs to trailers.
    beginning: Option<Vec<u8>>,
    /// The beginning of trailers whose block goes on in CONTINUATION frames.
    block: Option<Vec<u8>>,
    /// The highest stream a client has opened.
    highest: u32,
}

impl Frames {
    pub(super) fn check(&mut self, mut bytes: &[u8]) -> Result<(), FramingError> {
        while !bytes.is_empty() {
            bytes = match self.have < HEADER {
                true => self.take_header(bytes),
                false => self.take_payload(bytes),
            };
            if self.have == HEADER && self.payload == 0 {
                self.end_frame()?;
            }
        }
        Ok(())
    }

    fn take_header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let taken = (HEADER - self.have).min(bytes.len());
        self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
        self.have += taken;
        if self.have == HEADER {
            let [a, b, c, ..] = self.header;
            self.payload = u32::from_be_bytes([0, a, b, c]) as usize;
            self.beginning = self.is_of_trailers().then(Vec::new);
        }
        &bytes[taken..]
    }

    /// Whether the frame is a HEADERS frame of a stream that has had one, or goes on with such a frame's block. Streams are
    /// opened in order.
    fn is_of_trailers(&mut self) -> bool {
        let [.., kind, _, a, b, c, d] = self.header;
        let stream = u32::from_be_bytes([a, b, c, d]) & !RESERVED;
        match kind {
            HEADERS => {
                let again = stream <= self.highest;
                self.highest = self.highest.max(stream);
                again
            }
            CONTINUATION => self.block.is_some(),
            _ => false,
        }
    }

    fn take_payload<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let taken = self.payload.min(bytes.len());
        if let Some(beginning) = &mut self.beginning {
            let wanted = ENOUGH.saturating_sub(beginning.len()).min(taken);
            beginning.extend_from_slice(&bytes[..wanted]);
        }
        self.payload -= taken;
        &bytes[taken..]
    }

    fn end_frame(&mut self) -> Result<(), FramingError> {
        self.have = 0;
        let Some(beginning) = self.beginning.take() else {
            return Ok(());
        };
        let [.., kind, flags, _, _, _, _] = self.header;
        let mut block = self.block.take().unwrap_or_default();
        block.extend_from_slice(match kind {
            HEADERS => fragment(&beginning, flags),
            _ => &beginning,
        });
        block.truncate(ENOUGH);
        if begins_with_pseudo_header(&block) {
            return Err(FramingError::Trailers);
        }
        if flags & END_HEADERS == 0 {
            self.block = Some(block);
        }
        Ok(())
    }
}

/// The field block in the payload of a HEADERS frame (RFC 9113 section 6.2).
fn fragment(payload: &[u8], flags: u8) -> &[u8] {
    let padding = usize::from(flags & PADDED != 0);
    let priority = if flags & PRIORITY == 0 { 0 } else { 5 };
    payload.get(padding + priority..).unwrap_or_default()
}

/// Whether the first field is known to be a pseudo-header field (RFC 7541 section 6).
fn begins_with_pseudo_header(mut block: &[u8]) -> bool {
    // Changes of the table's size come before the fields.
    while let [0x20..=0x3f, rest @ ..] = block {
        let long = block[0] & 0x1f == 0x1f;
        let skip = rest
            .iter()
            .take_while(|byte| long && **byte >= 0x80)
            .count();
        block = rest.get(skip + usize::from(long)..).unwrap_or_default();
    }
    let Some((&first, rest)) = block.split_first() else {
        return false;
    };
    let index = match first {
        0x80.. => first & 0x7f,
        0x40.. => first & 0x3f,
        _ => first & 0x0f,
    };
    match index {
        0 if first < 0x80 => begins_with_a_colon(rest),
        // Of the static table.
        1..=14 => true,
        _ => false,
    }
}

/// Whether a string's first character is a colon: in the clear, or in the seven bits that Huffman's code has for it.
fn begins_with_a_colon(string: &[u8]) -> bool {
    match string {
        [0x80..=0xff, text, ..] => text >> 1 == 0b101_1100,
        [_, text, ..] => *text == b':',
        _ => false,
    }
}

const HEADER: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const RESERVED: u32 = 1 << 31;
/// Padding's length, priority, changes of the table's size, the first representation and its first character.
const ENOUGH: usize = 32;
