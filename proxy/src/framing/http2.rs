//! Follows HTTP/2 frames (RFC 9113 section 4.1) and looks into the first field of trailers.
//!
//! Pseudo-header fields come before all others, or h2 itself refuses them; so it is enough to know whether the first
//! field is one. Names that only the dynamic table has cannot be known without decoding all that came before: our
//! settings allow no such table, and trailers that use it all the same are refused.

use super::FramingError;

/// A connection's frames, as far as they have come.
#[derive(Default)]
pub(super) struct Frames {
    /// The frame's header, while it comes.
    header: [u8; HEADER],
    have: usize,
    /// How much of the frame's payload is still to come.
    payload: usize,
    /// The beginning of a payload that is looked into.
    beginning: Option<Vec<u8>>,
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
            self.beginning = self.opens_trailers().then(Vec::new);
        }
        &bytes[taken..]
    }

    /// Whether the frame is a HEADERS frame of a stream that has had one. Streams are opened in order.
    fn opens_trailers(&mut self) -> bool {
        let [.., kind, _, a, b, c, d] = self.header;
        let stream = u32::from_be_bytes([a, b, c, d]) & !RESERVED;
        if kind != HEADERS {
            return false;
        }
        let again = stream <= self.highest;
        self.highest = self.highest.max(stream);
        again
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
        match self.beginning.take() {
            Some(block) if !begins_with_a_field(fragment(&block, self.header[4])) => {
                Err(FramingError::Trailers)
            }
            _ => Ok(()),
        }
    }
}

/// The field block in the payload of a HEADERS frame (RFC 9113 section 6.2).
fn fragment(payload: &[u8], flags: u8) -> &[u8] {
    let padding = usize::from(flags & PADDED != 0);
    let priority = if flags & PRIORITY == 0 { 0 } else { 5 };
    payload.get(padding + priority..).unwrap_or_default()
}

/// Whether the first field is an ordinary one, as far as that shows (RFC 7541 section 6).
fn begins_with_a_field(mut block: &[u8]) -> bool {
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
    let (index, mask) = match first {
        0x80.. => (first & 0x7f, 0x7f),
        0x40.. => (first & 0x3f, 0x3f),
        _ => (first & 0x0f, 0x0f),
    };
    match index {
        0 if first < 0x80 => !begins_with_a_colon(rest),
        // The static table has 61 entries; the first 14 are pseudo-header fields.
        15..=61 => index < mask || index_behind(rest) <= 61,
        _ => false,
    }
}

/// Whether a string's first character is a colon: in the clear, or in the seven bits that Huffman's code has for it.
fn begins_with_a_colon(string: &[u8]) -> bool {
    match string {
        [0x80..=0xff, text, ..] => text >> 1 == 0b101_1100,
        [_, text, ..] => *text == b':',
        _ => true,
    }
}

/// An index of 15 and more in a prefix of four bits.
fn index_behind(rest: &[u8]) -> u16 {
    match rest {
        [more @ ..=0x7f, ..] => 15 + u16::from(*more),
        _ => u16::MAX,
    }
}

const HEADER: usize = 9;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const RESERVED: u32 = 1 << 31;
/// Padding's length, priority, changes of the table's size, the first representation and its first character.
const ENOUGH: usize = 32;
