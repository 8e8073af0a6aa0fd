//! Reads secrets and tokens, each into one buffer that has its full size from the start and is
//! wiped.
//!
//! A buffer that grows leaves copies in freed memory, and so does a reader with a buffer of its
//! own. So everything is read from a file descriptor straight into the one buffer.

use std::{
    io::{self, ErrorKind, Read},
    mem,
};

use zeroize::Zeroizing;

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("more than {0} bytes")]
    TooLong(usize),
    #[error("text that is not UTF-8")]
    NotUtf8,
    #[error("more than one line was pasted")]
    MultipleLines,
    #[error("an escape sequence that is not an arrow key")]
    EscapeSequence,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads all of `from`, which must not have a buffer of its own. At most `limit` bytes.
pub(super) fn read_text(mut from: impl Read, limit: usize) -> Result<Zeroizing<String>, ReadError> {
    // One more byte shows whether there is more.
    let mut bytes = Zeroizing::new(vec![0; limit + 1]);
    let mut length = 0;
    while length < bytes.len() {
        match from.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    if length > limit {
        return Err(ReadError::TooLong(limit));
    }
    bytes.truncate(length);
    into_text(bytes)
}

/// Converts the bytes to text in the same buffer.
pub(super) fn into_text(mut bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, ReadError> {
    if str::from_utf8(&bytes).is_err() {
        return Err(ReadError::NotUtf8);
    }
    let text = String::from_utf8(mem::take(&mut *bytes));
    text.map(Zeroizing::new).map_err(|_| ReadError::NotUtf8)
}

/// Removes the final newline, in place.
pub(super) fn trim_newline(text: &mut String) {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that returns one byte at a time and is interrupted before each.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            match self.1 {
                true => Err(ErrorKind::Interrupted.into()),
                false => self.0.read(&mut buffer[..1]),
            }
        }
    }

    #[test]
    fn a_text_is_read_to_its_end_and_never_into_a_second_buffer() {
        for length in [0, 1, 99, 100] {
            let given = "k".repeat(length);
            let read = read_text(Slow(given.as_bytes(), false), 100).unwrap();
            assert_eq!(*read, given);
            // Another capacity would mean another buffer, and the first one freed unwiped.
            assert_eq!(read.capacity(), 101);
        }
    }

    #[test]
    fn what_is_too_long_or_no_text_is_refused() {
        let long = read_text(Slow(&[b'k'; 101], false), 100);
        assert!(matches!(long, Err(ReadError::TooLong(100))));
        let binary = read_text(&b"k\xff"[..], 100);
        assert!(matches!(binary, Err(ReadError::NotUtf8)));
    }

    #[test]
    fn one_newline_is_taken_from_the_end() {
        for (given, left) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a\r", "a\r"),
            ("\n", ""),
        ] {
            let mut text = given.to_owned();
            trim_newline(&mut text);
            assert_eq!(text, left, "{given:?}");
        }
    }
}
