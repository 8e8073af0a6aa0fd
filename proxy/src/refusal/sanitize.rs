//! Chooses which parts of a refused request's target may be repeated: enough to see the mistake,
//! and nothing that may be a key. Run records keep a client's notes by a rule of their own.

use keyside_config::{Catalogue, unescaped};

/// The path as a refusal may show it, at most [`MAX_LENGTH`] characters. A segment that looks like
/// a key becomes `…`. Keys can contain slashes, so after such a segment only names that occur in
/// routes are shown.
pub(crate) fn path(path: &str, catalogue: &Catalogue) -> String {
    let mut shown = Vec::new();
    let mut is_masked = false;
    for segment in path.split('/').take(MAX_SEGMENTS) {
        let hidden = looks_like_key(segment, catalogue);
        is_masked |= hidden;
        shown.push(match hidden || is_masked && !is_name(segment, catalogue) {
            true => "…",
            false => segment,
        });
    }
    let mut shown = shown.join("/");
    if let Some((end, _)) = shown.char_indices().nth(MAX_LENGTH) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// Whether some route has a segment of this name.
fn is_name(segment: &str, catalogue: &Catalogue) -> bool {
    let mut routes = catalogue.iter().flat_map(|provider| &provider.routes);
    routes.any(|route| route.path.names().any(|name| name == segment))
}

/// The host as a refusal may show it.
pub(crate) fn host<'a>(host: &'a str, catalogue: &Catalogue) -> &'a str {
    match host.len() > MAX_LENGTH || looks_like_key(host, catalogue) {
        true => "…",
        false => host,
    }
}

/// A client's run id or tag as its record may keep it. `is_secret` says whether a text repeats a
/// secret that is known.
///
/// Ids are random too, so another text counts as a key only if it has a prefix and the form of a
/// provider's keys.
pub(crate) fn note(
    text: &str,
    catalogue: &Catalogue,
    is_secret: impl Fn(&str) -> bool,
) -> Box<str> {
    let mut words = text.split(|c: char| !is_in_keys(c));
    match is_secret(text) || words.any(|word| has_form_of_key(word, catalogue)) {
        true => "…".into(),
        false => text.into(),
    }
}

fn has_form_of_key(word: &str, catalogue: &Catalogue) -> bool {
    let mut rules = catalogue.iter().map(|provider| &provider.key);
    rules.any(|rules| {
        let mut prefixes = rules.prefix.iter();
        prefixes.any(|prefix| word.starts_with(prefix.as_str())) && rules.pattern.is_match(word)
    }) && has_random_run(word)
}

/// Whether keys have this character; around a key there are others, such as in `Bearer sk-…`.
fn is_in_keys(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Whether the text contains the prefix of a provider's keys, or a random-looking run, however it
/// is escaped. Names of models, methods and dated versions do not count as random.
pub(crate) fn looks_like_key(text: &str, catalogue: &Catalogue) -> bool {
    let plain = unescaped(text);
    let lower = plain.to_ascii_lowercase();
    let mut prefixes = catalogue.iter().flat_map(|provider| {
        let refused = provider.key.refused.iter().map(|kind| &kind.prefix);
        provider.key.prefix.iter().chain(refused)
    });
    prefixes.any(|prefix| lower.contains(&prefix.to_ascii_lowercase()))
        || has_random_run(&plain)
        || is_uuid(&plain)
}

fn has_random_run(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .any(is_random)
}

/// Whether a run of letters and digits looks random rather than like words.
fn is_random(run: &str) -> bool {
    let has_digit = run.bytes().any(|byte| byte.is_ascii_digit());
    let letters = run.bytes().filter(u8::is_ascii_alphabetic);
    let capitals: Vec<_> = letters.map(|byte| byte.is_ascii_uppercase()).collect();
    let case_changes = capitals.windows(2).filter(|pair| pair[0] != pair[1]);
    let case_changes = case_changes.count();
    run.len() >= RANDOM_LENGTH
        || run.len() >= RANDOM_LENGTH_WITH_DIGIT && has_digit
        || case_changes >= RANDOM_CASE_CHANGES && case_changes * 3 > run.len()
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').map(str::len).collect();
    let mut bytes = text.bytes();
    parts == [8, 4, 4, 4, 12] && bytes.all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Characters.
const MAX_LENGTH: usize = 200;
/// Further segments are left out; no route has as many.
const MAX_SEGMENTS: usize = 32;
/// Characters of a run without separators that count as random; `streamGenerateContent` is shorter.
const RANDOM_LENGTH: usize = 24;
/// The same for a run with a digit.
const RANDOM_LENGTH_WITH_DIGIT: usize = 16;
/// Changes between upper and lower case that count as random; in a name each word makes two.
const RANDOM_CASE_CHANGES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_with_a_key_in_it_is_not_kept_and_ids_are() {
        let catalogue = Catalogue::builtin();
        let kept = |text: &str| note(text, &catalogue, |text| text == "correct horse");
        for text in [
            "sk-proj-CanaryOfANote0123456789abcdef",
            "Bearer sk-proj-CanaryOfANote0123456789abcdef",
            "OPENAI_API_KEY=sk-proj-CanaryOfANote0123456789abcdef",
            "gsk_CanaryOfANote0123456789abcdefghij",
            "correct horse",
        ] {
            assert_eq!(&*kept(text), "…", "{text}");
        }
        for text in [
            "nightly-42",
            "sk-learn-pipeline-2026-11-30",
            "task-0123456789abcdef0123456789abcdef",
            "01890a5d-ac96-774b-bcce-b302099a8057",
            "0123456789abcdef0123456789abcdef",
            "sess-0123456789abcdef0123456789abcdef",
            "",
        ] {
            assert_eq!(&*kept(text), text);
        }
    }

    #[test]
    fn text_that_may_be_a_key_is_not_shown() {
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
            ("/%73k-proj-abc/v1/messages", "/…/v1/messages"),
            ("/v1/%2573k-proj-abc", "/v1/…"),
            ("/v1/%2525252573k-proj-abc", "/v1/…"),
            ("/v1/SK-PROJ-abc", "/v1/…"),
            ("/v1/GOCSPX-aBcD_fGhI", "/v1/…"),
            ("/v1/wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "/v1/…/…/…"),
            ("/v1/123e4567-e89b-12d3-a456-426614174000", "/v1/…"),
            ("//v1//messages/", "//v1//messages/"),
            ("/v1/0123456789abcdef0123456789abcdef", "/v1/…"),
            ("/AIzaSyA1b2C3d4E5f6G7h8I9j0/v1", "/…/v1"),
        ] {
            assert_eq!(path(asked, &catalogue), expected);
        }
        let long = "/a-bcdefg-hi".repeat(1000);
        assert_eq!(path(&long, &catalogue).chars().count(), MAX_LENGTH + 1);
    }
}
