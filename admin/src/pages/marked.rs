//! Texts in which backticks mark code: the macro `marked` of `macros.html` escapes each piece.
//! `admin/assets/notice.js` marks code in the same way.

pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) is_code: bool,
}

/// The pieces of a text that are not empty. A backtick without a second one is a character like
/// others.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, code, after)) = split_at_code(rest) {
        pieces.extend([(before, false), (code, true)]);
        rest = after;
    }
    pieces.push((rest, false));
    let pieces = pieces.into_iter().filter(|(text, _)| !text.is_empty());
    pieces
        .map(|(text, is_code)| Piece { text, is_code })
        .collect()
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
        let shown = pieces(text).into_iter();
        let shown = shown.map(|Piece { text, is_code }| match is_code {
            true => format!("[{text}]"),
            false => text.to_owned(),
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
    }
}
