//! What the person at the terminal has asked for.

/// <https://no-color.org>: any value but the empty one turns colour off.
pub(crate) fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
