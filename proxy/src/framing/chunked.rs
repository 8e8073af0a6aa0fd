//! Parses the framing of a chunked body (RFC 9112 section 7.1), skipping its data.

use super::FramingError;

/// The position of the next byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// The first digit of a size.
    #[default]
    Size,
    /// Another digit, or the end of the size.
    Digits,
    /// White space before an extension or the line's end.
    Blank,
    /// The first byte of an extension's name, after the `;`.
    NameStart,
    Name,
    /// White space after a name.
    NameEnd,
    /// The first byte of an extension's value, after the `=`.
    ValueStart,
    Value,
    Quoted,
    /// After a backslash in a quoted value.
    Escaped,
    /// The LF of a size line.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a line after the last chunk: a trailer, or the CR of the final line.
    LineStart,
    Trailer,
    TrailerLf,
    LastLf,
    Over,
}

/// A chunked body that is being received.
#[derive(Default)]
pub(super) struct Chunked {
    at: At,
    /// The chunk's size while its digits are read, then how much data is left.
    size: u64,
}

impl Chunked {
    pub(super) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// Consumes the bytes of this body and returns those after it.
    pub(super) fn advance<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], FramingError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.at == At::Over {
                break;
            }
            if self.at == At::Data {
                bytes = self.skip(bytes);
                continue;
            }
            self.at = self.step(byte).ok_or(FramingError::Chunk)?;
            bytes = rest;
        }
        Ok(bytes)
    }

    fn skip<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let left = usize::try_from(self.size).unwrap_or(usize::MAX);
        let skipped = left.min(bytes.len());
        self.size -= skipped as u64;
        if self.size == 0 {
            self.at = At::DataCr;
        }
        &bytes[skipped..]
    }

    /// The position after this byte; `None` if the byte is not allowed here.
    fn step(&mut self, byte: u8) -> Option<At> {
        Some(match (self.at, byte) {
            (At::Size, _) if byte.is_ascii_hexdigit() => {
                self.size = digit(byte);
                At::Digits
            }
            (At::Digits, _) if byte.is_ascii_hexdigit() => {
                self.size = self.size.checked_mul(16)? + digit(byte);
                At::Digits
            }
            (At::Digits | At::Blank | At::Name | At::NameEnd | At::Value, b'\r') => At::SizeLf,
            (At::Digits | At::Blank | At::Name | At::NameEnd | At::Value, b';') => At::NameStart,
            (At::Digits | At::Blank | At::Value, b' ' | b'\t') => At::Blank,
            (At::Name | At::NameEnd, b'=') => At::ValueStart,
            (At::Name | At::NameEnd, b' ' | b'\t') => At::NameEnd,
            (At::NameStart, b' ' | b'\t') => At::NameStart,
            (At::NameStart | At::Name, _) if is_token(byte) => At::Name,
            (At::ValueStart, b' ' | b'\t') => At::ValueStart,
            (At::ValueStart, b'"') => At::Quoted,
            (At::ValueStart | At::Value, _) if is_token(byte) => At::Value,
            (At::Quoted, b'"') => At::Blank,
            (At::Quoted, b'\\') => At::Escaped,
            (At::Quoted | At::Escaped, _) if is_text(byte) => At::Quoted,
            (At::SizeLf, b'\n') if self.size == 0 => At::LineStart,
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::LineStart, b'\r') => At::LastLf,
            (At::LineStart, _) if is_token(byte) => At::Trailer,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::Trailer, _) if is_text(byte) => At::Trailer,
            (At::TrailerLf, b'\n') => At::LineStart,
            (At::LastLf, b'\n') => At::Over,
            _ => return None,
        })
    }
}

fn digit(byte: u8) -> u64 {
    u64::from(char::from(byte).to_digit(16).unwrap_or_default())
}

/// A byte of a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A byte of a quoted string or of a field's value: no control byte but the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
