//! One secret and all the encodings in which it could appear.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A unique text.
pub struct Canary {
    text: String,
    /// Forms by their first bytes, so that one pass over a haystack finds any of them.
    forms: HashMap<[u8; PREFIX], Vec<(String, Vec<u8>)>>,
}

/// Each form is at least this long.
const PREFIX: usize = 8;

/// The harmful part: views may show its first and last few characters.
const FRAGMENT: usize = 16;

impl Canary {
    /// In the form of a provider's key.
    pub fn like_a_key() -> Self {
        Self::of(&format!("sk-proj-{}", random(ALPHANUMERIC, 56)))
    }

    /// All characters that a secret may contain, including those that JSON, URLs, shells, logs and
    /// patterns escape.
    pub fn of_odd_characters() -> Self {
        Self::of(&random(ODD, 64))
    }

    pub fn of(text: &str) -> Self {
        let mut forms: HashMap<_, Vec<_>> = HashMap::new();
        let last = text.len() - 4;
        let starts = (8..=last - FRAGMENT).step_by(FRAGMENT / 2);
        for fragment in starts.map(|start| &text.as_bytes()[start..start + FRAGMENT]) {
            for (coding, form) in codings(fragment) {
                let prefix = *form.first_chunk().expect("longer than the prefix");
                forms.entry(prefix).or_default().push((coding, form));
            }
        }
        Self {
            text: text.to_owned(),
            forms,
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The encoding in which a part of it occurs in these bytes.
    pub fn found_in(&self, bytes: &[u8]) -> Option<&str> {
        (0..bytes.len()).find_map(|at| {
            let forms = self.forms.get(bytes[at..].first_chunk::<PREFIX>()?)?;
            let found = forms.iter().find(|(_, form)| bytes[at..].starts_with(form));
            found.map(|(coding, _)| coding.as_str())
        })
    }
}

/// The same bytes in every form that a log, a file format or a bug could produce.
pub fn codings(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut forms = vec![("raw".to_owned(), bytes.to_vec())];
    let mut add = |coding: &str, form: String| forms.push((coding.to_owned(), form.into_bytes()));
    let each = |format: fn(&u8) -> String| bytes.iter().map(format).collect::<Vec<_>>();
    add("hex", each(|byte| format!("{byte:02x}")).concat());
    add("HEX", each(|byte| format!("{byte:02X}")).concat());
    add("hex, spaced", each(|byte| format!("{byte:02x}")).join(" "));
    add("a list of numbers", each(u8::to_string).join(","));
    add("a list of numbers, spaced", each(u8::to_string).join(", "));
    add(
        "URL-encoded whole",
        each(|byte| format!("%{byte:02X}")).concat(),
    );
    add(
        "url-encoded whole",
        each(|byte| format!("%{byte:02x}")).concat(),
    );
    add("URL-encoded", each(|byte| url(*byte, true)).concat());
    add("url-encoded", each(|byte| url(*byte, false)).concat());
    let text = String::from_utf8_lossy(bytes);
    let quoted = |text: &str| text[1..text.len() - 1].to_owned();
    let json = quoted(&serde_json::Value::from(&*text).to_string());
    add(
        "JSON in JSON",
        quoted(&serde_json::Value::from(json.as_str()).to_string()),
    );
    add("JSON", json);
    add("Debug", quoted(&format!("{text:?}")));
    add("bytes' Debug", bytes.escape_ascii().to_string());
    add(
        "UTF-16",
        each(|byte| format!("{}\0", char::from(*byte))).concat(),
    );
    add("backwards", text.chars().rev().collect());
    for alignment in 0..3 {
        for (name, digits) in [("base64", STANDARD), ("base64url", URL_SAFE)] {
            add(
                &format!("{name} at {alignment}"),
                base64(bytes, alignment, digits),
            );
        }
    }
    forms
}

/// The base64 digits that depend only on these bytes if `alignment` others precede them.
fn base64(bytes: &[u8], alignment: usize, digits: &[u8; 64]) -> String {
    let bit = |at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
    let first = (alignment * 8).next_multiple_of(6) - alignment * 8;
    let groups = (bytes.len() * 8 - first) / 6;
    let digit = |group: usize| {
        let value = (0..6).fold(0, |value, at| value << 1 | bit(first + group * 6 + at));
        char::from(digits[usize::from(value)])
    };
    (0..groups).map(digit).collect()
}

fn url(byte: u8, upper: bool) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).into()
        }
        _ if upper => format!("%{byte:02X}"),
        _ => format!("%{byte:02x}"),
    }
}

/// The standard library's source of randomness; here it only needs to be unique.
fn random(from: &[u8], length: usize) -> String {
    let pick = |_| {
        let number = RandomState::new().build_hasher().finish();
        let at = usize::try_from(number % from.len() as u64).expect("an index");
        char::from(from[at])
    };
    (0..length).map(pick).collect()
}

const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const ODD: &[u8] = b"!\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~";
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[test]
fn a_canary_is_found_in_every_coding_and_only_where_it_is() {
    let canary = Canary::of("sk-proj-abc/def+ghi\"jkl%mno\\pqr=stu~vwx");
    let text = canary.text().to_owned();
    for (coding, whole) in codings(text.as_bytes()) {
        let planted = [b"before ".as_slice(), &whole, b" after"].concat();
        assert!(canary.found_in(&planted).is_some(), "not found: {coding}");
    }
    // Computed with `printf 'x{key}' | base64`, with zero, one and two bytes before it.
    for coded in [
        "c2stcHJvai1hYmMvZGVmK2doaSJqa2wlbW5vXHBxcj1zdHV+dnd4",
        "eHNrLXByb2otYWJjL2RlZitnaGkiamtsJW1ub1xwcXI9c3R1fnZ3eA==",
        "eHhzay1wcm9qLWFiYy9kZWYrZ2hpImprbCVtbm9ccHFyPXN0dX52d3g=",
    ] {
        assert!(canary.found_in(coded.as_bytes()).is_some(), "{coded}");
    }
    for innocent in ["", "sk-proj-", "sk-proj-…~vwx", "sk-proj-abc/def+ghi"] {
        assert_eq!(canary.found_in(innocent.as_bytes()), None, "{innocent}");
    }
    let other = Canary::like_a_key();
    assert_eq!(canary.found_in(other.text().as_bytes()), None);
}
