//! Reads JSON strings (RFC 8259 section 7) without leaving an unwiped copy.
//!
//! serde_json (1.0) assembles a string with escapes in a growing buffer, and frees that without
//! wiping: a secret with `\u0061` in it would stay in freed memory. Texts are therefore parsed as
//! raw JSON and unescaped here.

use std::ops::Range;

use keyside_config::hex_number;
use zeroize::Zeroizing;

/// The text of a JSON string, in a buffer that is wiped when dropped. `None` if `json` is not a
/// string, or has an unpaired surrogate.
pub fn unescaped(json: &str) -> Option<Zeroizing<String>> {
    let mut rest = json.strip_prefix('"')?.strip_suffix('"')?;
    // No escape is shorter than the text that it encodes, so the buffer never grows: a buffer that
    // grows leaves an unwiped copy in freed memory.
    let mut text = Zeroizing::new(String::with_capacity(rest.len()));
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (character, after) = escaped(&rest[at + 1..])?;
        text.push(character);
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

/// The character after a backslash, and the rest.
fn escaped(rest: &str) -> Option<(char, &str)> {
    let (kind, rest) = rest.split_at_checked(1)?;
    let character = match kind {
        "\"" | "\\" | "/" => kind.chars().next()?,
        "b" => '\u{8}',
        "f" => '\u{c}',
        "n" => '\n',
        "r" => '\r',
        "t" => '\t',
        "u" => return unicode(rest),
        _ => return None,
    };
    Some((character, rest))
}

/// The character after `\u`: one UTF-16 code unit, or the first of a pair whose second one is
/// escaped too.
fn unicode(rest: &str) -> Option<(char, &str)> {
    let (first, rest) = code_unit(rest)?;
    if !HIGH_SURROGATES.contains(&first) {
        return Some((char::from_u32(first.into())?, rest));
    }
    let (second, rest) = code_unit(rest.strip_prefix("\\u")?)?;
    let character = char::decode_utf16([first, second]).next()?.ok()?;
    Some((character, rest))
}

fn code_unit(rest: &str) -> Option<(u16, &str)> {
    let (digits, rest) = rest.split_at_checked(4)?;
    let unit = hex_number(digits.as_bytes())?;
    Some((u16::try_from(unit).ok()?, rest))
}

const HIGH_SURROGATES: Range<u16> = 0xd800..0xdc00;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_decoded_as_by_serde_json() {
        for json in [
            r#""""#,
            r#""sk-plain""#,
            r#""sk-\u0061\u0062c""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\u00e9\u20AC\ud83d\uDE00 and é€😀""#,
            r#""ends with a backslash \\""#,
            r#""\\u0061 is no escape""#,
            r#""\u0000""#,
            r#""\ud83d""#,
            r#""\ude00\ud83d""#,
            r#""\ud83d\u0061""#,
            r#""\ud83dx""#,
            "7",
            "null",
            "[\"a\"]",
        ] {
            let expected: Option<String> = serde_json::from_str(json).ok();
            let text = unescaped(json).map(|text| text.to_string());
            assert_eq!(text, expected, "{json}");
        }
    }

    /// Escapes that no JSON parser lets through are no text either, and never a panic.
    #[test]
    fn invalid_json_strings_are_refused() {
        for json in [
            "",
            "\"",
            r#""\""#,
            r#""\x""#,
            r#""\u""#,
            r#""\u12""#,
            r#""\u+123""#,
            r#""\u00é""#,
            r#""\é""#,
            r#""\ud83d\u""#,
        ] {
            assert!(unescaped(json).is_none(), "{json}");
        }
    }

    #[test]
    fn the_buffer_of_a_text_is_never_reallocated() {
        for json in [
            format!("\"{}\"", "\\u0061".repeat(1_000)),
            format!("\"{}\"", "a\\u20ac\\n".repeat(1_000)),
            format!("\"{}\"", "a".repeat(8_192)),
        ] {
            let text = unescaped(&json).unwrap();
            // Another capacity would be that of another buffer, and the first one freed as it was.
            assert_eq!(text.capacity(), json.len() - 2);
        }
    }
}
