//! Secrets and tokens on their way in: each in one buffer, which has its full size from the beginning and is wiped.
//!
//! A buffer that grows leaves its earlier, shorter self behind in freed memory, and so does a reader with a buffer of its
//! own. So what is read here is read from a file descriptor, straight into the one buffer.

use std::io::{self, ErrorKind, Read};

use zeroize::Zeroizing;

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("more than {0} bytes")]
    TooLong(usize),
    #[error("something that is not UTF-8")]
    NotUtf8,
    #[error("more than one line was pasted")]
    MultipleLines,
    #[error("an escape that belongs to no arrow key")]
    EscapeSequence,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// All of `from`, which must not have a buffer of its own. At most `limit` bytes.
pub(super) fn read_text(mut from: impl Read, limit: usize) -> Result<Zeroizing<String>, ReadError> {
    // One byte more tells whether it goes on.
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

/// The same bytes as a text, in the same buffer.
pub(super) fn into_text(mut bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, ReadError> {
    if str::from_utf8(&bytes).is_err() {
        return Err(ReadError::NotUtf8);
    }
    let text = String::from_utf8(std::mem::take(&mut *bytes));
    text.map(Zeroizing::new).map_err(|_| ReadError::NotUtf8)
}

/// Without the newline that a file or a line ends with. Shortened in place.
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

    /// A reader that gives a byte at a time, and is interrupted before each.
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
            // Another capacity would be that of another buffer, and the first one freed as it was.
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
