//! The forms in which a secret can occur in a response: each byte plain, or escaped for URLs, JSON
//! or HTML.
//!
//! Any byte may be escaped, with digits in any case, and the escape may be escaped again: `%252B`
//! in a URL within a URL, `\\u002b` in JSON within JSON. Knows nothing about streams: it searches
//! one text.

use std::cell::Cell;

use memchr::memchr3_iter;

/// Whether case matters in a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Exact,
    /// For header fields: names are lowercased, and values may repeat names.
    Ignored,
}

/// A text to search.
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    case: Case,
    /// Set when a form reached the end of the text, so that more text could complete it.
    incomplete: Cell<bool>,
}

impl<'a> Text<'a> {
    pub(super) fn new(bytes: &'a [u8], case: Case) -> Self {
        Self {
            bytes,
            case,
            incomplete: Cell::new(false),
        }
    }

    /// Whether more text could have completed a form, since the last call.
    pub(super) fn was_incomplete(&self) -> bool {
        self.incomplete.take()
    }

    /// Whether a form of `byte` can begin at `at`.
    pub(super) fn can_begin(&self, at: usize, byte: u8) -> bool {
        let found = self.bytes[at];
        self.is(found.into(), byte) || is_introducer(found)
    }

    /// The end of the longest form of `secret` that starts at `at`.
    pub(super) fn longest(&self, mut at: usize, secret: &[u8]) -> Option<usize> {
        let mut rest = secret;
        // Fast path: most text is not escaped and can be read in one way only.
        while let [wanted, after @ ..] = rest
            && let Some(found) = self.at(at)
            && !is_introducer(found)
        {
            if !self.is(found.into(), *wanted) {
                return None;
            }
            (at, rest) = (at + 1, after);
        }
        // A secret that contains an introducer can be read in several ways: `%25` is one of its
        // bytes, or three. So all possible positions are followed.
        let mut ways = vec![at];
        for &wanted in rest {
            let mut next = Vec::new();
            for at in ways {
                self.forms(at, wanted, MAX_LAYERS, &mut next);
            }
            ways = next;
            if ways.is_empty() {
                return None;
            }
        }
        ways.into_iter().max()
    }

    /// Adds the end of each form of `wanted` that starts at `at`, with at most `layers` layers of
    /// escapes.
    fn forms(&self, at: usize, wanted: u8, layers: u8, ends: &mut Vec<usize>) {
        let Some(found) = self.at(at) else { return };
        if self.is(found.into(), wanted) {
            add(ends, at + 1);
        }
        if layers > 0 && is_introducer(found) {
            self.percent(at, wanted, layers - 1, ends);
            self.backslash(at, wanted, layers - 1, ends);
            self.entity(at, wanted, layers - 1, ends);
        }
    }

    fn all(&self, at: usize, wanted: u8, layers: u8) -> Vec<usize> {
        let mut ends = Vec::new();
        self.forms(at, wanted, layers, &mut ends);
        ends
    }

    /// `%2B` (RFC 3986 section 2.1).
    fn percent(&self, at: usize, wanted: u8, layers: u8, ends: &mut Vec<usize>) {
        for digits in self.all(at, b'%', layers) {
            self.hex(digits, 2, wanted, ends);
        }
    }

    /// `\u002b` and `\/` (RFC 8259 section 7), and `\x2b` as in JavaScript and C.
    fn backslash(&self, at: usize, wanted: u8, layers: u8, ends: &mut Vec<usize>) {
        for next in self.all(at, b'\\', layers) {
            match self.at(next) {
                Some(b'u') => self.hex(next + 1, 4, wanted, ends),
                Some(b'x') => self.hex(next + 1, 2, wanted, ends),
                Some(_) if !wanted.is_ascii_alphanumeric() => {
                    self.forms(next, wanted, layers, ends);
                }
                _ => {}
            }
        }
    }

    /// `&#43;`, `&#x2b;`, `&amp;` (HTML section 13.5, XML section 4.6).
    fn entity(&self, at: usize, wanted: u8, layers: u8, ends: &mut Vec<usize>) {
        for name in self.all(at, b'&', layers) {
            for number in self.all(name, b'#', layers) {
                self.number(number, wanted, layers, ends);
            }
            for (text, byte) in NAMED {
                if self.is(byte.into(), wanted) && self.matches_at(name, text) {
                    self.forms(name + text.len(), b';', layers, ends);
                }
            }
        }
    }

    fn number(&self, at: usize, wanted: u8, layers: u8, ends: &mut Vec<usize>) {
        let (radix, first) = match self.at(at) {
            Some(b'x' | b'X') => (16, at + 1),
            _ => (10, at),
        };
        let (mut value, mut end) = (0, first);
        while end < first + MAX_DIGITS
            && let Some(digit) = self.digit(end, radix)
        {
            (value, end) = (value * radix + digit, end + 1);
        }
        if end > first && self.is(value, wanted) {
            self.forms(end, b';', layers, ends);
        }
    }

    fn hex(&self, at: usize, digits: usize, wanted: u8, ends: &mut Vec<usize>) {
        let mut value = 0;
        let end = at + digits;
        for at in at..end {
            match self.digit(at, 16) {
                Some(digit) if digit == 0 || end - at <= 2 => value = value * 16 + digit,
                _ => return,
            }
        }
        if self.is(value, wanted) {
            add(ends, end);
        }
    }

    fn digit(&self, at: usize, radix: u32) -> Option<u32> {
        char::from(self.at(at)?).to_digit(radix)
    }

    fn matches_at(&self, at: usize, text: &[u8]) -> bool {
        let mut bytes = text.iter().enumerate();
        bytes.all(|(behind, byte)| self.at(at + behind) == Some(*byte))
    }

    fn at(&self, at: usize) -> Option<u8> {
        let found = self.bytes.get(at).copied();
        if found.is_none() {
            self.incomplete.set(true);
        }
        found
    }

    fn is(&self, found: u32, wanted: u8) -> bool {
        let found = u8::try_from(found);
        found.is_ok_and(|found| match self.case {
            Case::Exact => found == wanted,
            Case::Ignored => found.eq_ignore_ascii_case(&wanted),
        })
    }
}

/// Whether `bytes` may contain an escape of a byte that `wants` accepts, or an escape that is cut
/// off before that can be decided. May return true without one, never false with one. Runs for
/// every chunk of a response, and searches for three bytes that are rare in most.
pub(super) fn may_be_escaped_in(bytes: &[u8], wants: impl Fn(u8) -> bool) -> bool {
    memchr3_iter(b'%', b'\\', b'&', bytes).any(|at| {
        let rest = &bytes[at + 1..];
        match (bytes[at], rest.first()) {
            (_, None) => true,
            (b'%', _) => may_encode_wanted(rest, 2, &wants),
            (b'\\', Some(b'u')) => may_encode_wanted(&rest[1..], 4, &wants),
            (b'\\', Some(b'x')) => may_encode_wanted(&rest[1..], 2, &wants),
            (b'\\', Some(next)) => !next.is_ascii_alphanumeric() && wants(*next),
            (_, Some(next)) => NAMED_AND_NUMBERED.contains(next),
        }
    })
}

/// Whether these hex digits encode a wanted byte or an introducer, or are cut off.
fn may_encode_wanted(bytes: &[u8], digits: usize, wants: impl Fn(u8) -> bool) -> bool {
    let mut value = 0;
    for at in 0..digits {
        let Some(byte) = bytes.get(at) else {
            return true;
        };
        match char::from(*byte).to_digit(16) {
            Some(digit) if digit == 0 || digits - at <= 2 => value = value * 16 + digit,
            _ => return false,
        }
    }
    // The introducer of an escape may be escaped itself.
    u8::try_from(value).is_ok_and(|byte| wants(byte) || is_introducer(byte) || byte == b'#')
}

/// Whether an escape can begin with this byte.
fn is_introducer(byte: u8) -> bool {
    matches!(byte, b'%' | b'\\' | b'&')
}

fn add(ends: &mut Vec<usize>, end: usize) {
    if !ends.contains(&end) {
        ends.push(end);
    }
}

/// Layers of escapes on one byte. With two, no form of a byte is longer than 41 bytes.
const MAX_LAYERS: u8 = 2;
/// Digits of a numeric HTML entity, including leading zeros.
const MAX_DIGITS: usize = 7;
/// The named entities that every XML parser knows.
const NAMED: [(&[u8], u8); 5] = [
    (b"amp", b'&'),
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"quot", b'"'),
    (b"apos", b'\''),
];
/// The bytes that can follow `&`: of those names, and of a number.
const NAMED_AND_NUMBERED: &[u8] = b"#algq";
