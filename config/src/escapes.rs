//! Undoes percent-encoding as leniently as any server might, reads hexadecimal digits, and says
//! what is percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// What is percent-encoded in a query's value: everything except the unreserved characters of RFC
/// 3986 (section 2.3).
pub const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Undoes all escapes, including those that only appear once others are undone: `%2561` is `a`. A
/// server that decodes once would see a `%` there, which no name that matters contains.
///
/// One pass, so that deeply nested escapes cost no more than other texts.
pub fn unescaped(written: &str) -> String {
    let mut text = Vec::with_capacity(written.len());
    for byte in written.bytes() {
        text.push(byte);
        while undo_last_escape(&mut text) {}
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Replaces an escape at the end of the text: `%61`, or `%u0061` as ASP.NET reads it.
fn undo_last_escape(text: &mut Vec<u8>) -> bool {
    if let [.., b'%', high, low] = text[..]
        && let Some(value) = hex_number(&[high, low])
        && let Ok(byte) = u8::try_from(value)
    {
        text.truncate(text.len() - 3);
        text.push(byte);
        return true;
    }
    if let [.., b'%', b'u' | b'U', a, b, c, d] = text[..]
        && let Some(value) = hex_number(&[a, b, c, d])
    {
        let character = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
        text.truncate(text.len() - 6);
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        return true;
    }
    false
}

/// The number that one to eight hexadecimal digits write. `u32::from_str_radix` would accept a sign
/// as well.
pub fn hex_number(digits: &[u8]) -> Option<u32> {
    let append = |number: u32, digit: &u8| Some(number * 16 + char::from(*digit).to_digit(16)?);
    match digits.len() {
        1..=8 => digits.iter().try_fold(0, append),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_are_a_number_and_nothing_else_is() {
        for (digits, number) in [
            ("0", Some(0)),
            ("7f", Some(0x7f)),
            ("fFfFfFfF", Some(u32::MAX)),
            ("", None),
            ("+f", None),
            ("0x", None),
            (" 1", None),
            ("0g", None),
            ("000000001", None),
        ] {
            assert_eq!(hex_number(digits.as_bytes()), number, "{digits}");
        }
    }

    #[test]
    fn escapes_of_escapes_are_undone() {
        for (written, text) in [
            ("%6bey", "key"),
            ("%256bey", "key"),
            ("%25252525256bey", "key"),
            ("%u006bey", "key"),
            ("100%", "100%"),
            ("%6", "%6"),
            ("%zz", "%zz"),
            ("%+f", "%+f"),
            ("caf%C3%A9", "caf\u{e9}"),
        ] {
            assert_eq!(unescaped(written), text, "{written}");
        }
    }
}
