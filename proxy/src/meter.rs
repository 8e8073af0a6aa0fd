//! Reads token usage in passing, from a JSON body or from any framing of JSON
//! messages (server-sent events, AWS event streams, WebSocket frames).
//!
//! A provider's rule names the JSON key that holds the counts and the fields in
//! it. The key is looked for as `"key"`, which cannot match inside a JSON
//! string, where the closing quote would be escaped. Only the object behind it
//! is parsed; the counts seen last win, since streams report them cumulatively
//! and `"usage": null` says nothing. Runs once for every chunk; costs a
//! substring search.

use crate::search::partial_at_end;
use keyside_config::UsageRule;
use memchr::memmem::Finder;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Token counts as the provider reported them; `None` where it did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
}

/// A provider's usage rule, made ready once at start.
pub(crate) struct Rule {
    key: Finder<'static>,
    counts: UsageRule,
}

impl Rule {
    pub(crate) fn new(counts: UsageRule) -> Self {
        let key = Finder::new(&format!("\"{}\"", counts.key)).into_owned();
        Self { key, counts }
    }
}

/// Meters one response, by each of a provider's rules.
pub(crate) struct Meter {
    rules: Arc<[Rule]>,
    states: Box<[State]>,
    usage: Usage,
}

enum State {
    /// Looking for the key, of which the stream so far ended with this many bytes.
    Seeking(usize),
    /// Behind the key: whitespace and a colon may come, then the object.
    Opening,
    Object(Object),
}

/// The object behind the key, as far as it has come.
struct Object {
    bytes: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Meter {
    pub(crate) fn new(rules: Arc<[Rule]>) -> Self {
        let states = rules.iter().map(|_| State::Seeking(0)).collect();
        Self {
            rules,
            states,
            usage: Usage::default(),
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        for (rule, state) in self.rules.iter().zip(&mut self.states) {
            let mut rest = chunk;
            while !rest.is_empty() {
                rest = state.advance(rest, rule, &mut self.usage);
            }
        }
    }
}

impl State {
    /// Takes what it can of `bytes`, and returns the rest.
    fn advance<'a>(&mut self, bytes: &'a [u8], rule: &Rule, usage: &mut Usage) -> &'a [u8] {
        match self {
            Self::Seeking(held) => match behind_key(bytes, &rule.key, held) {
                Some(behind) => {
                    *self = Self::Opening;
                    behind
                }
                None => &[],
            },
            Self::Opening => self.open(bytes),
            Self::Object(object) => match object.push(bytes) {
                Progress::More => &[],
                Progress::Overlong(behind) => {
                    *self = Self::Seeking(0);
                    behind
                }
                Progress::Complete(behind) => {
                    usage.update(&rule.counts, &object.bytes);
                    *self = Self::Seeking(0);
                    behind
                }
            },
        }
    }

    fn open<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b':';
        let Some(start) = bytes.iter().position(|byte| !blank(byte)) else {
            return &[];
        };
        *self = match bytes[start] {
            b'{' => Self::Object(Object::default()),
            _ => Self::Seeking(0),
        };
        &bytes[start..]
    }
}

/// What follows the key in `bytes`, or `None` with the part of it seen in `held`.
fn behind_key<'a>(bytes: &'a [u8], key: &Finder<'_>, held: &mut usize) -> Option<&'a [u8]> {
    // The key starts and ends with a quote and has none inside: a part that does
    // not go on can only start anew at its own closing quote, at the search below.
    let needle = key.needle();
    let missing = &needle[*held..];
    if *held > 0 && bytes.starts_with(missing) {
        let behind = &bytes[missing.len()..];
        *held = 0;
        return Some(behind);
    }
    if *held > 0 && missing.starts_with(bytes) {
        *held += bytes.len();
        return None;
    }
    *held = 0;
    match key.find(bytes) {
        Some(at) => Some(&bytes[at + needle.len()..]),
        None => {
            *held = partial_at_end(bytes, needle);
            None
        }
    }
}

enum Progress<'a> {
    More,
    Complete(&'a [u8]),
    Overlong(&'a [u8]),
}

impl Default for Object {
    fn default() -> Self {
        Self {
            bytes: Vec::with_capacity(256),
            depth: 0,
            in_string: false,
            escaped: false,
        }
    }
}

impl Object {
    fn push<'a>(&mut self, bytes: &'a [u8]) -> Progress<'a> {
        for (index, &byte) in bytes.iter().enumerate() {
            self.bytes.push(byte);
            self.track(byte);
            let behind = &bytes[index + 1..];
            if self.depth == 0 {
                return Progress::Complete(behind);
            }
            if self.bytes.len() >= LONGEST {
                return Progress::Overlong(behind);
            }
        }
        Progress::More
    }

    fn track(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            b'{' if !self.in_string => self.depth += 1,
            b'}' if !self.in_string => self.depth -= 1,
            _ => {}
        }
    }
}

impl Usage {
    fn update(&mut self, rule: &UsageRule, object: &[u8]) {
        let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(object) else {
            return;
        };
        let first = |names: &[String]| {
            names
                .iter()
                .find_map(|name| fields.get(name).and_then(whole_number))
        };
        self.input = first(&rule.input).or(self.input);
        self.output = first(&rule.output).or(self.output);
    }
}

/// Cohere writes its counts as floating-point numbers.
fn whole_number(value: &Value) -> Option<u64> {
    let fraction = || value.as_f64().filter(|count| (0.0..1e15).contains(count));
    value
        .as_u64()
        .or_else(|| fraction().map(|count| count as u64))
}

/// A usage object is a few hundred bytes; what is longer is something else.
const LONGEST: usize = 16 * 1024;

#[cfg(test)]
mod tests;
