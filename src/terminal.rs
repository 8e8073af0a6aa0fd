//! What terminals can show, and whether the user wants colour.

use std::env;

/// Whether `NO_COLOR` permits colour: any non-empty value disables it (<https://no-color.org>).
pub(crate) fn colour_wanted() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Replaces control characters: text from elsewhere may contain escape sequences.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
