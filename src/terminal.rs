//! What the person at a terminal has asked for, and what a terminal can show.

/// <https://no-color.org>: any value but the empty one turns colour off.
pub(crate) fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `text` with each control character replaced: what comes from elsewhere may hold escape sequences.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
