//! Removes what is pasted around a key: whitespace, quotes, a variable's name, a header's name.
//!
//! In place: the key never leaves its one buffer, which is zeroed. A provider's key holds no whitespace, quote or colon;
//! anything else could be part of one, so it is kept where the text begins as the provider's keys do.

use std::ops::Range;

use keyside_credentials::SHORTEST_SECRET;

use super::shell;

/// Removes what surrounds a key, layer by layer, and says what it was. `prefixes` are what the provider's keys begin with.
pub(super) fn strip(text: &mut String, prefixes: &[String]) -> Vec<&'static str> {
    let mut removed = Vec::new();
    while let Some((inside, layer)) = outermost(text, prefixes) {
        text.truncate(inside.end);
        text.drain(..inside.start);
        if !removed.contains(&layer) {
            removed.push(layer);
        }
    }
    removed
}

/// What is inside of the outermost layer, and what the layer is. It is never all of the text.
fn outermost(text: &str, prefixes: &[String]) -> Option<(Range<usize>, &'static str)> {
    let to_the_end = |start: usize| start..text.len();
    if let Some(inside) = whitespace(text) {
        Some((inside, "whitespace"))
    } else if let Some(inside) = quotes(text) {
        Some((inside, "quotes"))
    } else if prefixes
        .iter()
        .any(|prefix| text.starts_with(prefix.as_str()))
    {
        None
    } else if let Some(start) = header(text) {
        Some((to_the_end(start), "a header's name"))
    } else if let Some(start) = scheme(text) {
        Some((to_the_end(start), "the word Bearer"))
    } else {
        let start = variable(text)?;
        Some((to_the_end(start), "a variable's name"))
    }
}

fn whitespace(text: &str) -> Option<Range<usize>> {
    let end = text.trim_end().len();
    let start = (text.len() - text.trim_start().len()).min(end);
    (end - start < text.len()).then_some(start..end)
}

fn quotes(text: &str) -> Option<Range<usize>> {
    let (opening, closing) = QUOTES.into_iter().find(|(opening, closing)| {
        let rest = text.strip_prefix(*opening);
        rest.is_some_and(|rest| rest.ends_with(*closing))
    })?;
    Some(opening.len_utf8()..text.len() - closing.len_utf8())
}

/// `x-api-key: `; where the key begins.
fn header(text: &str) -> Option<usize> {
    let (name, value) = text.split_once(':')?;
    // Compared as it is: a copy of it might be one of the key.
    let is_known = HEADERS
        .iter()
        .any(|known| name.trim().eq_ignore_ascii_case(known));
    is_known.then(|| text.len() - value.len())
}

/// `Bearer `; where the key begins.
fn scheme(text: &str) -> Option<usize> {
    let begins = text.get(..BEARER.len())?.eq_ignore_ascii_case(BEARER);
    begins.then_some(BEARER.len())
}

/// `export NAME=`, or `NAME=` with a name that variables for keys have; where the key begins. What follows has to be long
/// enough for one: the `=` that base64 ends with is no assignment.
fn variable(text: &str) -> Option<usize> {
    let exported = text.strip_prefix("export ");
    let (name, value) = exported.unwrap_or(text).trim_start().split_once('=')?;
    let is_usual = exported.is_some() || name.contains('_') || name.ends_with("KEY");
    let is_assignment = shell::is_variable(name) && is_usual && value.len() >= SHORTEST_SECRET;
    is_assignment.then(|| text.len() - value.len())
}

const QUOTES: [(char, char); 5] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('\u{201c}', '\u{201d}'),
    ('\u{2018}', '\u{2019}'),
];

const HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

const BEARER: &str = "bearer ";

#[cfg(test)]
mod tests {
    use keyside_config::Catalogue;

    use super::*;

    const KEY: &str = "sk-proj-CanaryOfAPastedKey0123456789";

    fn stripped(text: &str, prefixes: &[&str]) -> (String, Vec<&'static str>) {
        let prefixes: Vec<_> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        let mut text = text.to_owned();
        let removed = strip(&mut text, &prefixes);
        (text, removed)
    }

    #[test]
    fn what_surrounds_a_key_is_removed_with_a_word() {
        let cases: [(&str, &[&str]); 16] = [
            ("KEY", &[]),
            (" KEY\t", &["whitespace"]),
            ("KEY\n\n", &["whitespace"]),
            ("\"KEY\"", &["quotes"]),
            ("'KEY'", &["quotes"]),
            ("`KEY`", &["quotes"]),
            ("\u{201c}KEY\u{201d}", &["quotes"]),
            ("OPENAI_API_KEY=KEY", &["a variable's name"]),
            ("OPENAI_API_KEY='KEY'", &["a variable's name", "quotes"]),
            ("export  TOKEN=KEY", &["a variable's name"]),
            ("Bearer KEY", &["the word Bearer"]),
            ("BEARER   KEY", &["the word Bearer", "whitespace"]),
            ("x-api-key:KEY", &["a header's name"]),
            ("X-Goog-Api-Key: KEY", &["a header's name", "whitespace"]),
            (
                "Authorization: Bearer KEY",
                &["a header's name", "whitespace", "the word Bearer"],
            ),
            (
                "'authorization: bearer KEY'",
                &["quotes", "a header's name", "whitespace", "the word Bearer"],
            ),
        ];
        for (pasted, expected) in cases {
            // The last one is the placeholder; a variable's name may end with it too.
            let (before, after) = pasted.rsplit_once("KEY").unwrap();
            let pasted = format!("{before}{KEY}{after}");
            for prefixes in [&[][..], &["sk-proj-", "sk-"]] {
                let (left, removed) = stripped(&pasted, prefixes);
                assert_eq!(left, KEY, "{pasted}");
                assert_eq!(removed, expected, "{pasted}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_a_layer_is_left_alone() {
        for text in [
            "",
            "\"",
            "\"sk-1",
            "sk-1\"",
            "'sk-1\"",
            "Bearer",
            "bearer-of-a-key",
            "x-other-key: sk-1",
            "user:password-of-eight",
            "abcdefgh=ijklmnop",
            "ABCDEFGHIJ==",
            "A_KEY=short",
            "a_key=0123456789",
            "two\nlines",
        ] {
            assert_eq!(stripped(text, &[]), (text.to_owned(), vec![]), "{text:?}");
        }
        let base64 = "ABSK_KEY=0123456789ABCDEF";
        assert_eq!(stripped(base64, &["ABSK"]).0, base64);
    }

    #[test]
    fn a_layer_around_nothing_leaves_nothing() {
        for text in [" ", "\"\"", "' '", "x-api-key: "] {
            assert_eq!(stripped(text, &[]).0, "", "{text:?}");
        }
    }

    #[test]
    fn the_key_stays_in_its_buffer() {
        let mut text = format!("export OPENAI_API_KEY=\"{KEY}\"");
        let (at, capacity) = (text.as_ptr(), text.capacity());
        strip(&mut text, &[]);
        assert_eq!((text.as_str(), text.as_ptr()), (KEY, at));
        assert_eq!(text.capacity(), capacity);
    }

    /// Every key that differs from a provider's example in one place, or has one more character, and is of its form.
    #[test]
    fn a_key_of_its_providers_form_is_never_changed() {
        let mut tried = 0;
        for provider in Catalogue::builtin().iter() {
            let key = &provider.key;
            let places = 0..key.example.len();
            let printable = || (b' '..=b'~').map(char::from);
            for (place, other) in places.flat_map(|place| printable().map(move |c| (place, c))) {
                let (before, after) = key.example.split_at(place);
                let longer = format!("{before}{other}{after}");
                let changed = format!("{before}{other}{}", &after[1..]);
                for mut text in [longer, changed] {
                    if !key.pattern.is_match(&text) {
                        continue;
                    }
                    let given = text.clone();
                    assert_eq!(strip(&mut text, &key.prefix), [""; 0], "{given}");
                    assert_eq!(text, given, "{}", provider.id);
                    tried += 1;
                }
            }
        }
        assert!(tried > 10_000, "{tried}");
    }
}
