//! Normalises names of header fields and query parameters: two spellings that any server treats as
//! the same name compare equal. Does not know which names matter.

use std::borrow::Cow;

use http::HeaderName;

use crate::escapes::unescaped;

/// A name as words of lower-case ASCII letters and digits, joined by `-`: both `X_Api_Key` and
/// `$x-api-key` become `x-api-key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalName<'a>(Cow<'a, str>);

impl<'a> NormalName<'a> {
    /// The name of a header field or trailer. Servers that pass requests on as CGI variables do not
    /// distinguish `_` from `-` (RFC 3875 section 4.1.18).
    ///
    /// Called once for each field of each request. Allocates only if the name is not in normal
    /// form, which is rare.
    pub fn of_header(name: &'a HeaderName) -> Self {
        // `HeaderName` is always in lower case.
        let name = name.as_str();
        match is_normal(name) {
            true => Self(Cow::Borrowed(name)),
            false => Self(Cow::Owned(joined(name.chars()))),
        }
    }

    /// Whether any reading of a query parameter's name satisfies `fits`.
    ///
    /// `written` is the name as in the query, with its escapes. Servers decode once, or twice by
    /// mistake; some stop at a NUL; some read `key[]` and `key[0]` as `key`; and `apiKey` is two
    /// words, but `apikey` is one.
    pub fn any_of_parameter(written: &str, fits: impl Fn(&NormalName<'_>) -> bool) -> bool {
        if is_normal(written) {
            return fits(&NormalName(Cow::Borrowed(written)));
        }
        let name = unescaped(written);
        let parts = name.split(['\0', '=', '&', ';', '?', '#']);
        let mut readings = std::iter::once(&*name)
            .chain(parts)
            .flat_map(without_members);
        readings.any(|reading| {
            fits(&NormalName(Cow::Owned(joined(reading.chars()))))
                || fits(&NormalName(Cow::Owned(joined(split_camel_case(reading)))))
        })
    }

    /// A name from settings, without escapes.
    pub(crate) fn of_text(text: &str) -> NormalName<'static> {
        NormalName(Cow::Owned(joined(text.chars())))
    }

    pub(crate) fn into_owned(self) -> NormalName<'static> {
        NormalName(Cow::Owned(self.0.into_owned()))
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The words, in order.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split('-').filter(|word| !word.is_empty())
    }

    /// Whether this name and `other` consist of the same letters, ignoring word boundaries:
    /// `api-key` equals `apikey`.
    pub fn is_same_as(&self, other: &NormalName<'_>) -> bool {
        self.letters_from(0).eq(other.letters_from(0))
    }

    /// Whether the letters begin with `letters`, ignoring word boundaries.
    pub fn begins_with(&self, letters: &str) -> bool {
        self.has_at(0, letters)
    }

    /// Whether the letters end with `letters`, ignoring word boundaries.
    pub fn ends_with(&self, letters: &str) -> bool {
        let from_behind = self.letters_from(0).rev().take(letters.len());
        from_behind.eq(letters.bytes().rev())
    }

    /// Whether the letters contain one of the parts, ignoring word boundaries. `parts` returns them
    /// by first letter, so that one pass over the name is enough.
    pub fn holds_any(&self, parts: impl Fn(u8) -> &'static [&'static str]) -> bool {
        let bytes = self.0.as_bytes().iter().enumerate();
        let mut found = bytes.map(|(at, initial)| (at, parts(*initial)));
        found.any(|(at, parts)| parts.iter().any(|part| self.has_at(at, part)))
    }

    fn has_at(&self, at: usize, letters: &str) -> bool {
        let found = self.letters_from(at).take(letters.len());
        found.eq(letters.bytes())
    }

    fn letters_from(&self, at: usize) -> impl DoubleEndedIterator<Item = u8> {
        let bytes = self.0.as_bytes()[at..].iter().copied();
        bytes.filter(|byte| *byte != b'-')
    }
}

/// Whether a name is already in normal form.
fn is_normal(name: &str) -> bool {
    let mut after_word = false;
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => after_word = true,
            b'-' if after_word => after_word = false,
            _ => return false,
        }
    }
    after_word
}

/// The readings of a name with brackets. `metadata[key]` is a member of `metadata`, so `key` does
/// not count. Without a name before the brackets, the text inside is the name. PHP replaces an
/// unclosed `[` with `_`.
fn without_members(name: &str) -> Vec<&str> {
    match name.split_once('[') {
        None => vec![name],
        Some((outer, _)) if joined(outer.chars()).is_empty() => std::iter::once(name)
            .chain(name.split(['[', ']']))
            .collect(),
        Some((outer, inner)) if inner.contains(']') => vec![outer],
        Some((outer, _)) => vec![outer, name],
    }
}

/// The words of a name; characters other than letters and digits separate them.
fn joined(name: impl Iterator<Item = char>) -> String {
    let mut joined = String::new();
    for character in name.map(folded) {
        match character {
            letter if letter.is_ascii_alphanumeric() => joined.push(letter.to_ascii_lowercase()),
            _ if joined.is_empty() || joined.ends_with('-') => {}
            _ => joined.push('-'),
        }
    }
    joined.truncate(joined.trim_end_matches('-').len());
    joined
}

/// Maps characters that become ASCII letters when a server folds case (Unicode CaseFolding.txt:
/// U+017F, U+212A; for Turkish U+0130, U+0131) or width (Halfwidth and Fullwidth Forms, U+FF01 to
/// U+FF5E).
fn folded(character: char) -> char {
    match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character)
        }
        other => other,
    }
}

/// Splits `apiKey` into `api-Key`, and `APIKey` into `API-Key`.
fn split_camel_case(name: &str) -> impl Iterator<Item = char> {
    let letters: Vec<char> = name.chars().collect();
    let apart: Vec<char> = (0..letters.len())
        .flat_map(|at| [begins_word(&letters, at).then_some('-'), Some(letters[at])])
        .flatten()
        .collect();
    apart.into_iter()
}

fn begins_word(letters: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| letters[before]);
    let after = letters.get(at + 1);
    letters[at].is_ascii_uppercase()
        && before.is_some_and(|before| {
            before.is_ascii_lowercase()
                || before.is_ascii_digit()
                || (before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase))
        })
}

#[cfg(test)]
mod tests;
