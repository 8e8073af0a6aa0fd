//! What terminals can show, and whether the user wants colour.

use std::env;

/// Whether a terminal may get colour: not if it understands no escape sequences, nor if `NO_COLOR` has
/// any non-empty value (<https://no-color.org>).
pub(crate) fn colour_wanted() -> bool {
    understands_escapes() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether a terminal understands escape sequences. Those of editors and of some CI systems do not,
/// and say so in `TERM`.
pub(crate) fn understands_escapes() -> bool {
    env::var_os("TERM").is_none_or(|name| name != "dumb")
}

/// Replaces control characters: text from elsewhere may contain escape sequences.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// The same for text of several lines: line feeds and tabs stay.
pub(crate) fn printable_lines(text: &str) -> String {
    let harmful = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    text.replace(harmful, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_replaced_and_lines_stay() {
        assert_eq!(
            printable_lines("a\n\tb\x1b[2J\r"),
            "a\n\tb\u{fffd}[2J\u{fffd}"
        );
    }
}
