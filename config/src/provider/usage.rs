//! How a provider reports the tokens of a response: exact paths in its messages, and sums of the
//! counts there.
//!
//! A path starts at the root of a message, so no text that a model writes can be mistaken for a
//! count.

use std::{fmt, str::FromStr};

use serde::Deserialize;

use crate::parsed::from_text;

/// How one of a provider's APIs reports tokens.
///
/// Each figure is a list of sums, of which the first that can be computed counts. A figure without
/// one is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UsageRule {
    /// Objects that contain the counts, as paths from the root of a message; if empty, the root
    /// contains them.
    pub at: Vec<KeyPath>,
    /// All tokens billed as input, including those read from and written to a cache.
    pub input: Vec<Sum>,
    /// All tokens billed as output, including reasoning.
    pub output: Vec<Sum>,
    /// Input tokens read from a cache.
    pub cached_input: Vec<Sum>,
    /// Input tokens written to a cache.
    pub cache_write: Vec<Sum>,
    /// Output tokens used for reasoning.
    pub reasoning: Vec<Sum>,
    /// For WebSockets: the messages that end a response. The responses are added up. If empty, each
    /// message with counts is one response.
    pub ends: Vec<Ending>,
    /// Whether the provider sends JSON in binary WebSocket messages too.
    pub binary: bool,
}

impl UsageRule {
    /// Every sum of every figure.
    pub fn sums(&self) -> impl Iterator<Item = &Sum> {
        let figures = [
            &self.input,
            &self.output,
            &self.cached_input,
            &self.cache_write,
            &self.reasoning,
        ];
        figures.into_iter().flatten()
    }
}

/// Object keys from the root inwards, such as `message.usage`: at most four, each of letters,
/// digits, `_` and `-`. Between two keys, `*` means each item of a list: `events.*.usage`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath(Vec<String>);

impl KeyPath {
    /// In place of a key: each item of the list that the key before it names.
    pub const EACH: &str = "*";

    /// The keys, outermost first; at least one.
    pub fn keys(&self) -> &[String] {
        &self.0
    }
}

from_text!(KeyPath, Sum, Ending);

impl FromStr for KeyPath {
    type Err = UsageRuleError;

    fn from_str(text: &str) -> Result<Self, UsageRuleError> {
        let keys: Vec<_> = text.split('.').map(str::to_owned).collect();
        let is_between_keys = |at: usize| {
            let is_inner = 0 < at && at + 1 < keys.len();
            is_inner && keys[at - 1] != Self::EACH
        };
        let valid =
            |(at, key): (usize, &String)| is_key(key) || (key == Self::EACH && is_between_keys(at));
        match keys.len() <= MAX_KEYS && keys.iter().enumerate().all(valid) {
            true => Ok(Self(keys)),
            false => Err(UsageRuleError::Path),
        }
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Counts to add or subtract, such as `completion_tokens +
/// completion_tokens_details.reasoning_tokens`.
///
/// The first count and those to subtract have to be present; those to add may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The first count.
    pub first: KeyPath,
    /// The counts to add to it or subtract from it.
    pub more: Vec<(Sign, KeyPath)>,
}

/// Whether a count is added or subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Added, if it is present.
    Plus,
    /// Subtracted. Without it the sum is unknown.
    Minus,
}

impl FromStr for Sum {
    type Err = UsageRuleError;

    fn from_str(text: &str) -> Result<Self, UsageRuleError> {
        let mut words = text.split_ascii_whitespace();
        let first = words.next().ok_or(UsageRuleError::Sum)?.parse()?;
        let mut more = Vec::new();
        while let Some(sign) = words.next() {
            let sign = match sign {
                "+" => Sign::Plus,
                "-" => Sign::Minus,
                _ => return Err(UsageRuleError::Sum),
            };
            more.push((sign, words.next().ok_or(UsageRuleError::Sum)?.parse()?));
        }
        Ok(Self { first, more })
    }
}

/// A message that ends a response, recognised by a text in it: `type = response.done`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The path of the text.
    pub path: KeyPath,
    /// The text: at most 64 visible ASCII characters, without quotes and backslashes.
    pub value: String,
}

impl FromStr for Ending {
    type Err = UsageRuleError;

    fn from_str(text: &str) -> Result<Self, UsageRuleError> {
        let (path, value) = text.split_once('=').ok_or(UsageRuleError::Ending)?;
        let value = value.trim().to_owned();
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        match (1..=MAX_KEY_LEN).contains(&value.len()) && value.bytes().all(plain) {
            true => Ok(Self {
                path: path.trim().parse()?,
                value,
            }),
            false => Err(UsageRuleError::Ending),
        }
    }
}

/// Why a text of a usage rule is invalid.
#[derive(Debug, thiserror::Error)]
pub enum UsageRuleError {
    /// Not a path of keys.
    #[error("expected up to four keys with dots between them, such as \"message.usage\"")]
    Path,
    /// Not a sum of counts.
    #[error("expected paths with ` + ` or ` - ` between them, such as \"input + cached\"")]
    Sum,
    /// Not a path and a value.
    #[error("expected a path and a text, such as \"type = response.done\"")]
    Ending,
}

/// Refuses keys that JSON would escape, because they would have two spellings. No provider uses
/// one.
pub(super) fn is_key(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=MAX_KEY_LEN).contains(&key.len()) && key.bytes().all(plain)
}

/// Bounds the memory of the parser of messages.
const MAX_KEYS: usize = 4;
/// Maximum length of a key, in bytes; bounds the same memory.
const MAX_KEY_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> KeyPath {
        text.parse().unwrap()
    }

    #[test]
    fn a_sum_adds_and_subtracts_paths() {
        let sum: Sum = "total - a.b  +  c-d".parse().unwrap();
        let more = vec![(Sign::Minus, path("a.b")), (Sign::Plus, path("c-d"))];
        assert_eq!(
            sum,
            Sum {
                first: path("total"),
                more
            }
        );
        assert_eq!(path("a.b_c.d-e").to_string(), "a.b_c.d-e");
        assert_eq!(path("a.*.b").keys(), ["a", "*", "b"]);
    }

    #[test]
    fn invalid_paths_sums_and_endings_are_refused() {
        let long = "k".repeat(65);
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a\"",
            "é",
            "a.b.c.d.e",
            "*",
            "*.a",
            "a.*",
            "a.*.*.b",
            "a*.b",
            long.as_str(),
        ] {
            assert!(text.parse::<KeyPath>().is_err(), "{text}");
        }
        for text in ["", "+", "a +", "+ a", "a b", "a * b", "a + + b", "a+b"] {
            assert!(text.parse::<Sum>().is_err(), "{text}");
        }
        for text in ["", "type", "type =", "= done", "type = a\"b", "type = a b"] {
            assert!(text.parse::<Ending>().is_err(), "{text}");
        }
        let ending: Ending = "type=response.done".parse().unwrap();
        assert_eq!(
            (ending.path, &*ending.value),
            (path("type"), "response.done")
        );
    }
}
