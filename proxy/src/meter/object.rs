//! A JSON object that comes in pieces, gathered until it is whole.

/// An object, as far as it has come.
pub(super) struct Object {
    bytes: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

/// Where a piece left the object, with what followed it in the piece.
pub(super) enum Progress<'a> {
    More,
    Complete(&'a [u8]),
    Overlong(&'a [u8]),
}

impl Default for Object {
    fn default() -> Self {
        Self {
            bytes: Vec::with_capacity(256),
            depth: 0,
            in_string: false,
            escaped: false,
        }
    }
}

impl Object {
    pub(super) fn push<'a>(&mut self, bytes: &'a [u8]) -> Progress<'a> {
        let room = (LONGEST - self.bytes.len()).min(bytes.len());
        let end = bytes[..room].iter().position(|&byte| {
            self.track(byte);
            self.depth == 0
        });
        let (own, behind) = bytes.split_at(end.map_or(room, |end| end + 1));
        self.bytes.extend_from_slice(own);
        match end {
            Some(_) => Progress::Complete(behind),
            None if self.bytes.len() >= LONGEST => Progress::Overlong(behind),
            None => Progress::More,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn track(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            b'{' if !self.in_string => self.depth += 1,
            b'}' if !self.in_string => self.depth -= 1,
            _ => {}
        }
    }
}

/// A usage object is a few hundred bytes; what is longer is something else.
const LONGEST: usize = 16 * 1024;
