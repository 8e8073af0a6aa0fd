//! Decides which parts of a refused request's target are repeated: enough to see the mistake, and nothing that may be a key.

use keyside_config::Catalogue;
use percent_encoding::percent_decode_str;

/// A path as it may be shown, at most [`LONGEST`] characters of it. A segment that looks like a key is `…`.
pub(crate) fn path(path: &str, catalogue: &Catalogue) -> String {
    let segments = path.split('/').map(|segment| {
        let plain = percent_decode_str(segment).decode_utf8_lossy();
        match looks_like_a_key(&plain, catalogue) {
            true => "…",
            false => segment,
        }
    });
    let mut shown = segments.collect::<Vec<_>>().join("/");
    if let Some((end, _)) = shown.char_indices().nth(LONGEST) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// A host as it may be shown.
pub(crate) fn host<'a>(host: &'a str, catalogue: &Catalogue) -> &'a str {
    match host.len() > LONGEST || looks_like_a_key(host, catalogue) {
        true => "…",
        false => host,
    }
}

/// Whether it begins as some provider's keys do, or holds what only random text holds. Names of models, methods and dated
/// versions do not.
pub(crate) fn looks_like_a_key(segment: &str, catalogue: &Catalogue) -> bool {
    let mut prefixes = catalogue.iter().flat_map(|provider| &provider.key.prefix);
    prefixes.any(|prefix| segment.contains(prefix.as_str()))
        || segment
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|run| {
                let has_digit = run.bytes().any(|byte| byte.is_ascii_digit());
                run.len() >= LONGEST_WORD || run.len() >= LONGEST_WITH_DIGIT && has_digit
            })
}

/// In characters.
const LONGEST: usize = 200;
/// In characters without a hyphen or the like between them, as in `streamGenerateContent`.
const LONGEST_WORD: usize = 24;
/// The same with a digit among them.
const LONGEST_WITH_DIGIT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_key_is_not_shown() {
        let catalogue = Catalogue::builtin();
        for (asked, expected) in [
            ("/v1/mesages", "/v1/mesages"),
            (
                "/v1beta/models/gemini-3.5-flash:streamGenerateContent",
                "/v1beta/models/gemini-3.5-flash:streamGenerateContent",
            ),
            (
                "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/invoke",
                "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/invoke",
            ),
            ("/v1/sk-ant-api03-not-to-be-seen", "/v1/…"),
            ("/%73k-proj-abc/v1", "/…/v1"),
            ("/v1/0123456789abcdef0123456789abcdef", "/v1/…"),
            ("/AIzaSyA1b2C3d4E5f6G7h8I9j0/v1", "/…/v1"),
        ] {
            assert_eq!(path(asked, &catalogue), expected);
        }
        let long = "/ab".repeat(1000);
        assert_eq!(path(&long, &catalogue).chars().count(), LONGEST + 1);
    }
}
