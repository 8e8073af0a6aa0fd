//! Texts in which code is marked: the macros `text` and `marked` of `macros.html` escape each piece.
//! `admin/assets/notice.js` gets the pieces too.

use std::slice;

use serde::Serialize;

/// A text for people. Backticks mark code in Keyside's own words alone: a text that may have words
/// of people or of providers is shown as it is.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Text(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) is_code: bool,
}

impl Text {
    /// Words of Keyside or of its catalogue.
    pub(super) fn marked(text: &str) -> Self {
        Self(pieces(text))
    }

    /// This text and another one, with a space between them.
    pub(super) fn and(mut self, next: impl Into<Self>) -> Self {
        let Self(next) = next.into();
        if !self.0.is_empty() && !next.is_empty() {
            self.0.push(Piece::new(" ", false));
        }
        self.0.extend(next);
        self
    }

    pub(super) fn pieces(&self) -> slice::Iter<'_, Piece> {
        self.0.iter()
    }
}

/// Keyside's own words.
impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::marked(text)
    }
}

/// May have words of others.
impl From<String> for Text {
    fn from(text: String) -> Self {
        let is_code = false;
        match text.is_empty() {
            true => Self::default(),
            false => Self(vec![Piece { text, is_code }]),
        }
    }
}

impl Piece {
    fn new(text: &str, is_code: bool) -> Self {
        Self {
            text: text.to_owned(),
            is_code,
        }
    }
}

/// The pieces of a text that are not empty. A backtick without a second one is a character like
/// others.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, code, after)) = split_at_code(rest) {
        pieces.extend([Piece::new(before, false), Piece::new(code, true)]);
        rest = after;
    }
    pieces.push(Piece::new(rest, false));
    pieces.retain(|piece| !piece.text.is_empty());
    pieces
}

/// What is before the first code, the code, and what follows it.
fn split_at_code(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('`')?;
    let (code, after) = rest.split_once('`')?;
    Some((before, code, after))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The text, with code in brackets.
    pub(in crate::pages) fn shown(text: &Text) -> String {
        let pieces = text.pieces().map(|piece| match piece.is_code {
            true => format!("[{}]", piece.text),
            false => piece.text.clone(),
        });
        pieces.collect()
    }

    #[test]
    fn what_is_between_two_backticks_is_code() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("`retry-after`", "[retry-after]"),
            ("`a` and `b`; a 429 has `c`.", "[a] and [b]; a 429 has [c]."),
            ("one ` alone", "one ` alone"),
            ("`a` and ` alone", "[a] and ` alone"),
            ("``", ""),
        ] {
            assert_eq!(shown(&Text::marked(text)), expected, "{text}");
        }
    }

    #[test]
    fn backticks_that_a_person_typed_mark_nothing() {
        let label = "a`b`c";
        let text = Text::from(format!("{label} is taken.")).and("Try `another`.");
        assert_eq!(shown(&text), "a`b`c is taken. Try [another].");
        let nothing = Text::default().and("Once.").and(String::new());
        assert_eq!(shown(&nothing), "Once.");
    }
}
