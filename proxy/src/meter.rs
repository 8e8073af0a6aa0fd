//! Reads token usage in passing, from a JSON body or from any framing of JSON
//! messages (server-sent events, AWS event streams, WebSocket frames).
//!
//! A provider's rule names the JSON key that holds the counts and the fields in
//! it. The key is looked for as `"key"`, which cannot match inside a JSON
//! string, where the closing quote would be escaped. Only the object behind it
//! is read, where it stands if it came in one piece; the counts seen last win,
//! since streams report them cumulatively and `"usage": null` says nothing. Runs
//! once for every chunk; costs a substring search.

mod counts;
mod object;

use crate::search::partial_at_end;
use counts::Counts;
use keyside_config::UsageRule;
use memchr::memmem::Finder;
use object::{Object, Progress};
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
    /// The object came in pieces.
    Gathering(Object),
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
            Self::Opening => self.open(bytes, rule, usage),
            Self::Gathering(object) => match object.push(bytes) {
                Progress::More => &[],
                Progress::Overlong(behind) => {
                    *self = Self::Seeking(0);
                    behind
                }
                Progress::Complete(behind) => {
                    if let Some((counts, _)) = Counts::read(&rule.counts, object.bytes()) {
                        usage.update(counts);
                    }
                    *self = Self::Seeking(0);
                    behind
                }
            },
        }
    }

    /// Looks for the object. One that is all here is read at once; what is cut
    /// off is gathered.
    fn open<'a>(&mut self, bytes: &'a [u8], rule: &Rule, usage: &mut Usage) -> &'a [u8] {
        let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b':';
        let Some(start) = bytes.iter().position(|byte| !blank(byte)) else {
            return &[];
        };
        let rest = &bytes[start..];
        *self = Self::Seeking(0);
        if rest[0] != b'{' {
            return rest;
        }
        match Counts::read(&rule.counts, rest) {
            Some((counts, behind)) => {
                usage.update(counts);
                &rest[behind..]
            }
            None => {
                *self = Self::Gathering(Object::default());
                rest
            }
        }
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

impl Usage {
    fn update(&mut self, counts: Counts) {
        self.input = counts.input.or(self.input);
        self.output = counts.output.or(self.output);
    }
}

#[cfg(test)]
mod tests;
