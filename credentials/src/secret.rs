//! The only type that holds a plaintext secret.

use zeroize::Zeroizing;

/// A provider's key in plaintext. Cannot be printed, copied or serialized; wiped when dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Validates a secret that a person entered, without the newline that a file or prompt adds.
    ///
    /// # Errors
    /// The text cannot be sent in a header unchanged, or is too short or too long. It is wiped in
    /// any case.
    pub fn from_plaintext(text: Vec<u8>) -> Result<Self, SecretError> {
        let mut text = Zeroizing::new(text);
        trim_newline(&mut text);
        match text.as_slice() {
            [] => Err(SecretError::Empty),
            long if long.len() > MAX_LEN => Err(SecretError::TooLong),
            [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => Err(SecretError::SpaceAtTheEnds),
            whole => match fault(whole) {
                Some(fault) => Err(fault),
                None => Ok(Self(text)),
            },
        }
    }

    /// The plaintext. Called only where a secret is sealed, wrapped, injected or searched for; a
    /// check lists the permitted places.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "a secret is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a text [repeats](repeats_secret) the secret.
    pub fn is_repeated_in(&self, text: &str) -> bool {
        repeats_secret(text, &self.0)
    }

    /// What surrounds the key in a text that is probably a line of a file of variables, with the
    /// remedy. Nothing is removed: a provider's keys may have such a form.
    pub(crate) fn wrapping(&self) -> Option<&'static str> {
        match self.0.as_slice() {
            [first @ (b'"' | b'\''), .., last] if first == last => {
                Some("the key is in quotes, which are sent with it; write it without quotes")
            }
            text => {
                let end = text.iter().position(|byte| *byte == b'=')?;
                // Base64 may end in `=`.
                let has_value = !matches!(&text[end + 1..], [] | [b'=', ..]);
                (has_value && is_variable_name(&text[..end])).then_some(
                    "the key is behind the name of a variable and =, which are sent with it; write only the key",
                )
            }
        }
    }

    /// Wraps an unsealed plaintext, which was validated before it was sealed.
    pub(crate) fn unsealed(plaintext: Zeroizing<Vec<u8>>) -> Self {
        Self(plaintext)
    }
}

/// Whether a text that people may read has the secret in it, or is the beginning of it, as a field
/// keeps of a text that is too long for it.
pub fn repeats_secret(text: &str, secret: &[u8]) -> bool {
    let text = text.as_bytes();
    let is_beginning = text.len() >= BEGINNING && secret.starts_with(text);
    let has_whole = || text.windows(secret.len()).any(|part| part == secret);
    !secret.is_empty() && (is_beginning || has_whole())
}

/// Bytes of a secret's beginning: more than the prefix that a provider's keys have in common.
const BEGINNING: usize = 20;

/// Why a text is not a valid secret. Never repeats any of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The text is empty, or only a newline.
    #[error("the secret is empty")]
    Empty,
    /// More than 8192 bytes.
    #[error("the secret is longer than {MAX_LEN} bytes")]
    TooLong,
    /// Fewer than [`SHORTEST_SECRET`] bytes.
    #[error(
        "the secret is shorter than {SHORTEST_SECRET} bytes: it could be an ordinary word, and so could not be masked in \
         responses that repeat it"
    )]
    TooShort,
    /// Usually a copying mistake.
    #[error("the secret begins or ends with a space")]
    SpaceAtTheEnds,
    /// Not valid in a header, like the next three.
    #[error("the secret has a space inside: it is more than one key, or not only a key")]
    SpaceInside,
    /// CR or LF.
    #[error("the secret has a line break inside: it is more than one key, or not only a key")]
    LineBreak,
    /// NUL or another ASCII control character.
    #[error("the secret holds a control character")]
    ControlCharacter,
    /// Usually a typographic quote or dash from a word processor, or a mark of width zero.
    #[error(
        "the secret holds a character that is not ASCII, such as a typographic quote or dash, or an invisible mark"
    )]
    NotAscii,
    /// It has an ellipsis, as pages show shortened keys.
    #[error("the secret is shortened: it has an ellipsis inside. Copy the whole key")]
    Shortened,
    /// A placeholder that was not replaced.
    #[error("the secret is {0}, and not a key itself")]
    Placeholder(&'static str),
}

/// Why a non-empty text is not a valid secret.
fn fault(text: &[u8]) -> Option<SecretError> {
    let holds = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    if holds(b"...") || holds("…".as_bytes()) {
        return Some(SecretError::Shortened);
    }
    if let Some(byte) = text.iter().find(|byte| !byte.is_ascii_graphic()) {
        return Some(match byte {
            b' ' | b'\t' => SecretError::SpaceInside,
            b'\r' | b'\n' => SecretError::LineBreak,
            0..=0x7f => SecretError::ControlCharacter,
            _ => SecretError::NotAscii,
        });
    }
    let placeholder = placeholder(text).map(SecretError::Placeholder);
    placeholder.or((text.len() < SHORTEST_SECRET).then_some(SecretError::TooShort))
}

/// The kind of placeholder, if the text is one. No provider's keys have such a form.
fn placeholder(text: &[u8]) -> Option<&'static str> {
    match text {
        [b'$', b'{', .., b'}'] => Some("a reference to a variable, which no shell has replaced"),
        [b'$', name @ ..] if is_variable_name(name) => {
            Some("a reference to a variable, which no shell has replaced")
        }
        [b'<', .., b'>'] => Some("a placeholder"),
        _ if text.starts_with(b"op://") => Some("a reference to an item in 1Password (`op read`)"),
        _ if text.starts_with(b"https://") || text.starts_with(b"http://") => Some("an address"),
        _ if is_token(text) => Some("a token of Keyside's admin API"),
        _ if is_yours(text) => Some("a placeholder"),
        _ => None,
    }
}

/// Whether a text has the form of the admin API's tokens. One that was stored as a provider's key
/// would be sent to the provider.
fn is_token(text: &[u8]) -> bool {
    text.len() == TOKEN_PREFIX.len() + TOKEN_RANDOM_LEN && text.starts_with(TOKEN_PREFIX.as_bytes())
}

/// What tokens of the admin API begin with.
pub(crate) const TOKEN_PREFIX: &str = "ks_";

/// The length of the rest: 256 bits in base64 without padding.
pub(crate) const TOKEN_RANDOM_LEN: usize = 43;

fn is_variable_name(name: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    name.first().is_some_and(|first| !first.is_ascii_digit()) && name.iter().all(fits)
}

/// `YOUR_API_KEY`, `sk-your-key-here` and the like. Compares in place: a lower-case copy would not
/// be wiped.
fn is_yours(text: &[u8]) -> bool {
    let found = |text: &[u8], word: &[u8]| {
        let mut windows = text.windows(word.len());
        windows.position(|window| window.eq_ignore_ascii_case(word))
    };
    let Some(start) = found(text, b"your") else {
        return false;
    };
    let nouns: [&[u8]; 3] = [b"key", b"token", b"secret"];
    nouns
        .into_iter()
        .any(|noun| found(&text[start..], noun).is_some())
}

/// The shortest secret that is masked in responses, in bytes. A shorter text is more likely an
/// ordinary word than an echo: masking it would damage responses and reveal where it occurs.
/// Shorter secrets are therefore refused.
pub const SHORTEST_SECRET: usize = 8;

/// Bytes. The admin API limits request bodies to eight times this.
const MAX_LEN: usize = 8192;

/// Truncates in place: a copy would leave the original unwiped.
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
        assert_eq!(read("sk-45678\n\n"), Err(SecretError::LineBreak));
    }

    #[test]
    fn a_text_that_repeats_the_secret_is_recognised() {
        let secret = "sk-canary-0123456789abcdef";
        let repeats = |text: &str| repeats_secret(text, secret.as_bytes());
        for text in [secret, &secret[..BEGINNING], &*format!("my {secret}!")] {
            assert!(repeats(text), "{text}");
        }
        for text in ["", "sk-canary", &secret[..BEGINNING - 1], &secret[1..]] {
            assert!(!repeats(text), "{text}");
        }
        assert!(!repeats_secret("nightly", b""));
    }

    #[test]
    fn a_secret_invalid_in_a_header_is_refused() {
        assert_eq!(read(""), Err(SecretError::Empty));
        assert_eq!(read("\n"), Err(SecretError::Empty));
        assert_eq!(read(" sk"), Err(SecretError::SpaceAtTheEnds));
        assert_eq!(read("sk "), Err(SecretError::SpaceAtTheEnds));
        for (inside, fault) in [
            ("s k", SecretError::SpaceInside),
            ("s\rk", SecretError::LineBreak),
            ("s\nk", SecretError::LineBreak),
            ("s\0k", SecretError::ControlCharacter),
            ("s\x7fk", SecretError::ControlCharacter),
            ("s\u{e9}k", SecretError::NotAscii),
            ("\u{feff}sk", SecretError::NotAscii),
            ("sk-45678…9012", SecretError::Shortened),
            ("sk-45678...9012", SecretError::Shortened),
        ] {
            assert_eq!(read(inside), Err(fault), "{inside:?}");
        }
    }

    #[test]
    fn a_placeholder_for_a_key_is_refused() {
        for text in [
            "$KEY",
            "$OPENAI_API_KEY",
            "${OPENAI_API_KEY}",
            "<paste-it-here>",
            "YOUR_API_KEY",
            "sk-your-key-here",
            "your_openai_token",
            "op://vault/openai/key",
            "https://acme.openai.azure.com",
            "http://localhost:4000/v1",
            "ks_0123456789abcdefghijABCDEFGHIJ0123456789_-c",
        ] {
            let refused = read(text).unwrap_err();
            assert!(matches!(refused, SecretError::Placeholder(_)), "{text}");
        }
        for text in [
            "$ecretKey",
            "$12345678",
            "sk-45678>",
            "sk-yours-45678",
            "opp://45",
            "ks_0123456789",
        ] {
            assert!(read(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_key_in_quotes_or_behind_a_variables_name_is_recognised() {
        let wrapping = |text: &str| Secret::from_plaintext(text.into()).unwrap().wrapping();
        for (text, remedy) in [
            ("\"sk-45678\"", "without quotes"),
            ("'sk-45678'\n", "without quotes"),
            ("OPENAI_API_KEY=sk-45678", "only the key"),
            ("KEY=\"sk-45678\"", "only the key"),
        ] {
            assert!(wrapping(text).unwrap().contains(remedy), "{text}");
        }
        for text in [
            "sk-45678",
            "ABCDEFG=",
            "ABCDEF==",
            "sk_a=45678",
            "\"sk-45678",
        ] {
            assert_eq!(wrapping(text), None, "{text}");
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
