//! Decodes HPACK (RFC 7541) just enough to tell which fields of a block are pseudo-header fields:
//! those whose names begin with a colon.
//!
//! A field can be an index into the connection's table of earlier fields, so every block must be
//! read. Indices count from the newest entry, so it is enough to know the order of entries; which
//! of the oldest were evicted does not matter, because h2 ends a connection that refers to one. h2
//! also ends a connection with a malformed block.

/// The dynamic table of one direction of a connection: a bit for each entry, the lowest for the
/// newest, set for pseudo-header fields. A table of 4,096 bytes, which h2 0.4 uses, has at most 128
/// entries (RFC 7541 section 4.1).
#[derive(Default)]
pub(super) struct Table(u128);

/// The block is malformed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Table {
    /// Reads one whole block. Returns whether it has a pseudo-header field.
    pub(super) fn read(&mut self, mut block: &[u8]) -> Result<bool, Malformed> {
        let mut any = false;
        while !block.is_empty() {
            any |= self.field(&mut block).ok_or(Malformed)?;
        }
        Ok(any)
    }

    /// Reads one representation (RFC 7541 section 6). Returns whether it is a pseudo-header field.
    fn field(&mut self, block: &mut &[u8]) -> Option<bool> {
        let first = *block.first()?;
        match first {
            // A complete field from a table.
            0x80.. => self.is_pseudo(integer(block, 7)?),
            // A change of the table's size.
            0x20..=0x3f => integer(block, 5).map(|_| false),
            // A name, from a table or literal, and a value. From 0x40 on the field is also added to
            // the table.
            _ => {
                let pseudo = match integer(block, if first < 0x40 { 4 } else { 6 })? {
                    0 => begins_with_a_colon(string(block)?),
                    index => self.is_pseudo(index)?,
                };
                string(block)?;
                if first >= 0x40 {
                    self.0 = self.0 << 1 | u128::from(pseudo);
                }
                Some(pseudo)
            }
        }
    }

    fn is_pseudo(&self, index: usize) -> Option<bool> {
        match index {
            0 => None,
            // The static table (RFC 7541 appendix A).
            1..=14 => Some(true),
            15..=61 => Some(false),
            _ => Some(self.0.checked_shr(u32::try_from(index - 62).ok()?)? & 1 == 1),
        }
    }
}

/// An integer with a prefix of `bits` bits (RFC 7541 section 5.1). h2 accepts as many bytes as
/// this, and no more.
fn integer(block: &mut &[u8], bits: u32) -> Option<usize> {
    let most = (1 << bits) - 1;
    let mut value = usize::from(next(block)?) & most;
    if value < most {
        return Some(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = next(block)?;
        value += usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// A string (RFC 7541 section 5.2).
struct Text<'a> {
    huffman: bool,
    bytes: &'a [u8],
}

fn string<'a>(block: &mut &'a [u8]) -> Option<Text<'a>> {
    let huffman = *block.first()? >= 0x80;
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length)?;
    *block = rest;
    Some(Text { huffman, bytes })
}

fn next(block: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = block.split_first()?;
    *block = rest;
    Some(byte)
}

/// The Huffman code of a colon is `1011100`.
fn begins_with_a_colon(text: Text<'_>) -> bool {
    match text.bytes {
        [first, ..] if text.huffman => first >> 1 == 0b101_1100,
        [first, ..] => *first == b':',
        [] => false,
    }
}
