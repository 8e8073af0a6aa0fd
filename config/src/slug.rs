//! The form of ids that stand in paths and settings.

/// Whether a text is 1 to 64 of `a-z`, `0-9` and `-`: the form of workspace and provider ids.
pub(crate) fn is_slug(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}
