//! Texts in which backticks mark code, as pieces: the macro `marked` of `macros.html` escapes each.

/// A text of the catalogue, or of a problem.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) pieces: Vec<Piece>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) is_code: bool,
}

impl Marked {
    pub(super) fn all(texts: &[String]) -> Vec<Self> {
        texts.iter().map(|text| Self::new(text)).collect()
    }

    /// A backtick without a second one is a character like others.
    pub(super) fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut push = |text: &str, is_code| {
            if !text.is_empty() {
                let text = text.to_owned();
                pieces.push(Piece { text, is_code });
            }
        };
        let mut rest = text;
        while let Some((before, code, after)) = split_at_code(rest) {
            push(before, false);
            push(code, true);
            rest = after;
        }
        push(rest, false);
        Self { pieces }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

/// What is before the first code, the code, and what follows it.
fn split_at_code(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('`')?;
    let (code, after) = rest.split_once('`')?;
    Some((before, code, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces, with code in brackets.
    fn shown(text: &str) -> Vec<String> {
        let pieces = Marked::new(text).pieces.into_iter();
        let shown = pieces.map(|Piece { text, is_code }| match is_code {
            true => format!("[{text}]"),
            false => text,
        });
        shown.collect()
    }

    #[test]
    fn what_is_between_two_backticks_is_code() {
        for (text, pieces) in [
            ("", &[][..]),
            ("plain", &["plain"]),
            ("`retry-after`", &["[retry-after]"]),
            (
                "`a` and `b`; a 429 has `c`.",
                &["[a]", " and ", "[b]", "; a 429 has ", "[c]", "."],
            ),
            ("one ` alone", &["one ` alone"]),
            ("`a` and ` alone", &["[a]", " and ` alone"]),
            ("``", &[]),
        ] {
            assert_eq!(shown(text), pieces, "{text}");
        }
        assert!(Marked::new("").is_empty());
    }
}
