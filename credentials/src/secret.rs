//! The only form in which a plaintext secret exists.

use zeroize::Zeroizing;

/// A provider's key in plaintext. It cannot be printed, copied or serialized, and is wiped when dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes a secret as a person gave it, without the newline that a file or a prompt leaves at its end.
    ///
    /// # Errors
    /// Everything that could not stand in a header as it is. The text is wiped either way.
    pub fn from_plaintext(text: Vec<u8>) -> Result<Self, SecretError> {
        let mut text = Zeroizing::new(text);
        trim_newline(&mut text);
        match text.as_slice() {
            [] => Err(SecretError::Empty),
            long if long.len() > MAX_LEN => Err(SecretError::TooLong),
            [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => Err(SecretError::SpaceAtTheEnds),
            plain if !plain.iter().all(u8::is_ascii_graphic) => Err(SecretError::NotVisibleAscii),
            short if short.len() < SHORTEST_SECRET => Err(SecretError::TooShort),
            _ => Ok(Self(text)),
        }
    }

    /// The plaintext. Called only where a secret is sealed, wrapped, injected or searched for; a test holds the list of
    /// places.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "a secret is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What unsealing gave: it was checked before it was sealed.
    pub(crate) fn unsealed(plaintext: Zeroizing<Vec<u8>>) -> Self {
        Self(plaintext)
    }
}

/// Why a text cannot be a secret. It never repeats any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing, or only a newline.
    #[error("the secret is empty")]
    Empty,
    /// More than 8192 bytes.
    #[error("the secret is longer than {MAX_LEN} bytes")]
    TooLong,
    /// Fewer than [`SHORTEST_SECRET`] bytes.
    #[error(
        "the secret is shorter than {SHORTEST_SECRET} bytes: it could be an ordinary word, and so could not be masked in \
         answers that repeat it"
    )]
    TooShort,
    /// Most often a slip while copying.
    #[error("the secret begins or ends with a space")]
    SpaceAtTheEnds,
    /// CR, LF, NUL, a space inside, or something beyond ASCII: it would break the header it is meant for.
    #[error("the secret holds something other than visible ASCII characters")]
    NotVisibleAscii,
}

/// The length in bytes from which a secret is masked in answers. A shorter one is likelier to be an ordinary word than an
/// echo: masking it would damage answers and show where it stands. So it is not stored either.
pub const SHORTEST_SECRET: usize = 8;

const MAX_LEN: usize = 8192;

/// Shortens in place: a copy would leave the original behind unwiped.
fn trim_newline(text: &mut Vec<u8>) {
    if text.last() == Some(&b'\n') {
        text.pop();
        if text.last() == Some(&b'\r') {
            text.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<u8>, SecretError> {
        Secret::from_plaintext(text.into()).map(|secret| secret.expose().to_vec())
    }

    #[test]
    fn one_newline_at_the_end_is_not_part_of_the_secret() {
        assert_eq!(read("sk-45678\n"), Ok(b"sk-45678".to_vec()));
        assert_eq!(read("sk-45678\r\n"), Ok(b"sk-45678".to_vec()));
        assert_eq!(read("sk-45678\n\n"), Err(SecretError::NotVisibleAscii));
    }

    #[test]
    fn what_could_not_stand_in_a_header_is_refused() {
        assert_eq!(read(""), Err(SecretError::Empty));
        assert_eq!(read("\n"), Err(SecretError::Empty));
        assert_eq!(read(" sk"), Err(SecretError::SpaceAtTheEnds));
        assert_eq!(read("sk "), Err(SecretError::SpaceAtTheEnds));
        for inside in [
            "s k",
            "s\rk",
            "s\nk",
            "s\0k",
            "s\u{e9}k",
            "\u{feff}sk",
            "s\x7fk",
        ] {
            assert_eq!(
                read(inside),
                Err(SecretError::NotVisibleAscii),
                "{inside:?}"
            );
        }
    }

    #[test]
    fn a_secret_too_short_to_be_masked_is_refused() {
        assert_eq!(read("sk-4567"), Err(SecretError::TooShort));
        assert_eq!(
            read("sk-4567\n"),
            Err(SecretError::TooShort),
            "the newline is not part of it"
        );
        assert!(read("sk-45678").is_ok());
    }

    #[test]
    fn the_longest_secret_is_8192_bytes() {
        assert!(read(&"k".repeat(8192)).is_ok());
        assert_eq!(read(&"k".repeat(8193)), Err(SecretError::TooLong));
    }
}
