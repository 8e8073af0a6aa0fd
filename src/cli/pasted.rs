//! Removes what was pasted around a key: whitespace, invisible characters, quotes, a variable's name,
//! a header's name, a comment.
//!
//! Works in place, so the key never leaves its one buffer, which is zeroed. A provider's key
//! contains no whitespace, quote or colon. Anything else could be part of a key, so it is kept if
//! the text begins like the provider's keys.

use std::ops::Range;

use keyside_config::shell;
use keyside_credentials::SHORTEST_SECRET;

/// Removes the layers around a key and returns what they were. `prefixes` are the prefixes of the
/// provider's keys.
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

/// Finds the range inside a layer, and what the layer is.
type Layer<'a> = (&'a dyn Fn(&str) -> Option<Range<usize>>, &'static str);

/// The range inside the outermost layer, and what the layer is. It is never the whole text.
fn outermost(text: &str, prefixes: &[String]) -> Option<(Range<usize>, &'static str)> {
    let around: [Layer<'_>; 6] = [
        (&whitespace, "whitespace"),
        (&invisible, "invisible characters"),
        (&comment, "a comment"),
        (&|text: &str| punctuation(text, prefixes), "punctuation"),
        (&quoted_name, "a field's name"),
        (&quotes, "quotes"),
    ];
    let mut around = around.iter();
    let found = around.find_map(|(find, layer)| Some((find(text)?, *layer)));
    if found.is_some() || begins_with_one_of(prefixes, text) {
        return found;
    }
    let mut in_front = IN_FRONT.iter();
    in_front.find_map(|(find, layer)| Some((find(text)?..text.len(), *layer)))
}

fn begins_with_one_of(prefixes: &[String], text: &str) -> bool {
    let mut prefixes = prefixes.iter();
    prefixes.any(|prefix| text.starts_with(prefix.as_str()))
}

fn whitespace(text: &str) -> Option<Range<usize>> {
    let end = text.trim_end().len();
    let start = (text.len() - text.trim_start().len()).min(end);
    (end - start < text.len()).then_some(start..end)
}

/// The byte order mark of files from Windows, and marks of width zero that pages and chats put
/// around words.
fn invisible(text: &str) -> Option<Range<usize>> {
    let end = text.trim_end_matches(INVISIBLE).len();
    let start = (text.len() - text.trim_start_matches(INVISIBLE).len()).min(end);
    (end - start < text.len()).then_some(start..end)
}

/// A trailing comment such as ` # from the team's account`; returns the range before it. A `#`
/// inside quotes begins no comment.
fn comment(text: &str) -> Option<Range<usize>> {
    let start = text.find(" #").or_else(|| text.find("\t#"))?;
    let is_closed = |quote: char| text[..start].matches(quote).count().is_multiple_of(2);
    ['"', '\'', '`']
        .into_iter()
        .all(is_closed)
        .then_some(0..start)
}

/// A trailing comma or semicolon, or the backslash of a continued line; returns the range before
/// it. A custom provider's keys may end with one, so something else must show where the key is.
fn punctuation(text: &str, prefixes: &[String]) -> Option<Range<usize>> {
    if let Some(line) = text.strip_suffix(" \\") {
        return Some(0..line.len());
    }
    let entry = text.strip_suffix([',', ';'])?;
    let is_shown = begins_with_one_of(prefixes, entry) || outermost(entry, prefixes).is_some();
    is_shown.then_some(0..entry.len())
}

/// `"name": ` of JSON or Python; returns the value.
fn quoted_name(text: &str) -> Option<Range<usize>> {
    let quote = ['"', '\'']
        .into_iter()
        .find(|quote| text.starts_with(*quote))?;
    let (name, rest) = text[1..].split_once(quote)?;
    let value = rest.trim_start().strip_prefix([':', '='])?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_name = !name.is_empty() && name.bytes().all(fits);
    let begin = text.len() - value.len();
    (is_name && value.trim().len() >= SHORTEST_SECRET).then_some(begin..text.len())
}

/// `-H ` of curl; returns where the header begins.
fn option(text: &str) -> Option<usize> {
    let rest = ["--header", "-H"]
        .into_iter()
        .find_map(|name| text.strip_prefix(name))?;
    let is_apart = rest.starts_with(['=', ' ', '"', '\'']);
    let value = rest.strip_prefix('=').unwrap_or(rest);
    is_apart.then(|| text.len() - value.len())
}

fn quotes(text: &str) -> Option<Range<usize>> {
    let (opening, closing) = QUOTES.into_iter().find(|(opening, closing)| {
        let rest = text.strip_prefix(*opening);
        rest.is_some_and(|rest| rest.ends_with(*closing))
    })?;
    Some(opening.len_utf8()..text.len() - closing.len_utf8())
}

/// `x-api-key: `; returns where the key begins.
fn header(text: &str) -> Option<usize> {
    let (name, value) = text.split_once(':')?;
    // Compared in place, because a copy might be a copy of the key.
    let is_known = HEADERS
        .iter()
        .any(|known| name.trim().eq_ignore_ascii_case(known));
    is_known.then(|| text.len() - value.len())
}

/// `Bearer `; returns where the key begins.
fn scheme(text: &str) -> Option<usize> {
    let begins = text.get(..BEARER.len())?.eq_ignore_ascii_case(BEARER);
    begins.then_some(BEARER.len())
}

/// `export NAME=` and its forms in other shells, or `NAME=` and `NAME: ` with a name that is
/// typical for keys; returns where the key begins. The value must be long enough for a key, because
/// the `=` at the end of base64 is not an assignment.
fn variable(text: &str) -> Option<usize> {
    let is_assignment = |(name, value): &(&str, &str), is_usual: bool| {
        let name = name.trim_end();
        let is_usual = is_usual || name.contains('_') || name.ends_with("KEY");
        shell::is_variable(name) && is_usual && value.trim().len() >= SHORTEST_SECRET
    };
    let assignment = match command(text) {
        Some((rest, separator)) => rest
            .split_once(separator)
            .filter(|found| is_assignment(found, true)),
        None => ["=", ": "]
            .into_iter()
            .filter_map(|separator| text.split_once(separator))
            .find(|found| is_assignment(found, false)),
    };
    let (_, value) = assignment?;
    Some(text.len() - value.len())
}

/// What follows a shell's command to set a variable, and the separator between name and value.
fn command(text: &str) -> Option<(&str, char)> {
    COMMANDS.into_iter().find_map(|(command, separator)| {
        let begins = text.get(..command.len())?.eq_ignore_ascii_case(command);
        begins.then(|| (text[command.len()..].trim_start(), separator))
    })
}

/// Finds where the key begins behind one layer.
type Finder = fn(&str) -> Option<usize>;

/// Layers in front of a key.
const IN_FRONT: [(Finder, &str); 4] = [
    (option, "an option's name"),
    (header, "a header's name"),
    (scheme, "the word Bearer"),
    (variable, "a variable's name"),
];

/// Commands of POSIX shells, PowerShell, fish, csh and cmd. `set ` comes after those that begin
/// with it.
const COMMANDS: [(&str, char); 8] = [
    ("export ", '='),
    ("$env:", '='),
    ("set -gx ", ' '),
    ("set -Ux ", ' '),
    ("set -x ", ' '),
    ("setx ", ' '),
    ("setenv ", ' '),
    ("set ", '='),
];

const QUOTES: [(char, char); 5] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('\u{201c}', '\u{201d}'),
    ('\u{2018}', '\u{2019}'),
];

/// Byte order mark, zero width space, joiners, marks of direction, word joiner.
const INVISIBLE: [char; 7] = [
    '\u{feff}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{2060}',
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
    fn each_layer_around_a_key_is_removed_and_named() {
        let cases: [(&str, &[&str]); 33] = [
            ("KEY", &[]),
            (" KEY\t", &["whitespace"]),
            ("KEY\n\n", &["whitespace"]),
            ("\u{feff}KEY", &["invisible characters"]),
            (
                "\u{200b}\"KEY\"\u{200b} ",
                &["whitespace", "invisible characters", "quotes"],
            ),
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
            ("OPENAI_API_KEY = KEY", &["a variable's name", "whitespace"]),
            ("OPENAI_API_KEY: KEY", &["a variable's name"]),
            ("OPENAI_API_KEY: 'KEY'", &["a variable's name", "quotes"]),
            ("export TOKEN=KEY;", &["punctuation", "a variable's name"]),
            (
                "$env:TOKEN = \"KEY\"",
                &["a variable's name", "whitespace", "quotes"],
            ),
            ("set TOKEN=KEY", &["a variable's name"]),
            ("setx TOKEN \"KEY\"", &["a variable's name", "quotes"]),
            ("set -gx TOKEN KEY", &["a variable's name"]),
            ("'KEY',", &["punctuation", "quotes"]),
            (
                "\"OPENAI_API_KEY\": \"KEY\",",
                &["punctuation", "a field's name", "whitespace", "quotes"],
            ),
            ("'apiKey':'KEY'", &["a field's name", "quotes"]),
            ("KEY # of the team's account", &["a comment"]),
            (
                "TOKEN_1=\"KEY\" # old",
                &["a comment", "a variable's name", "quotes"],
            ),
            ("\"KEY # old\"", &["quotes", "a comment"]),
            (
                "-H \"Authorization: Bearer KEY\" \\",
                &[
                    "punctuation",
                    "an option's name",
                    "whitespace",
                    "quotes",
                    "a header's name",
                    "the word Bearer",
                ],
            ),
        ];
        for (pasted, expected) in cases {
            // The last KEY is the placeholder; a variable's name may end with KEY too.
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
    fn a_text_that_only_resembles_a_layer_is_kept() {
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
            "ends-with-a-comma,",
            "ends-with-a-semicolon;",
            "TEAM_1:0123456789",
            "$env:lower=0123456789",
            "set 0123456789",
            "-H0123456789",
            "a#0123456789",
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

    /// Tries every key of a provider's format that differs from its example in one character, or
    /// has one more.
    #[test]
    fn a_key_of_its_provider_s_format_is_never_changed() {
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
