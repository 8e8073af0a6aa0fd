//! Reads the wanted counts out of a usage object and skips the rest of it.
//!
//! By its quotes and brackets alone: a JSON parser, which checks all that is skipped too, took a sixth of what an answer
//! costs. Who sends what is no JSON gets no counts, or odd ones.

use keyside_config::UsageRule;
use memchr::memchr2;

/// What one object says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
}

impl Counts {
    /// Reads the object that `json` begins with; also returns where it ends. `None` if it does not end in `json`.
    pub(super) fn read(rule: &UsageRule, json: &[u8]) -> Option<(Self, usize)> {
        let (mut input, mut output) = (Best::default(), Best::default());
        let (mut depth, mut at, mut name) = (0_usize, 0, &json[..0]);
        loop {
            match *json.get(at)? {
                b'"' => {
                    let start = at + 1;
                    at = start + string_end(&json[start..])?;
                    name = &json[start..at];
                }
                // What is deeper down has the same names for other things.
                b':' if depth == 1 => {
                    let value = &json[at + 1..];
                    input.offer(&rule.input, name, value);
                    output.offer(&rule.output, name, value);
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            at += 1;
            if depth == 0 {
                break;
            }
        }
        let counts = Self {
            input: input.count(),
            output: output.count(),
        };
        Some((counts, at))
    }
}

/// Where the string ends that `text` is the inside of.
fn string_end(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr2(b'"', b'\\', text.get(from..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
    }
}

/// One count on its way: of several names for it, the first in the rule wins.
#[derive(Default)]
struct Best(Option<(usize, u64)>);

impl Best {
    fn offer(&mut self, names: &[String], name: &[u8], value: &[u8]) {
        let place = names.iter().position(|known| known.as_bytes() == name);
        if let Some(place) = place
            && self.0.is_none_or(|(best, _)| place < best)
            && let Some(count) = whole_number(value)
        {
            self.0 = Some((place, count));
        }
    }

    fn count(self) -> Option<u64> {
        self.0.map(|(_, count)| count)
    }
}

/// The number that `json` begins with. Cohere writes its counts as floating-point numbers.
fn whole_number(json: &[u8]) -> Option<u64> {
    let json = json.trim_ascii_start();
    let in_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let end = json.iter().position(|byte| !in_number(byte))?;
    let text = std::str::from_utf8(&json[..end]).ok()?;
    let fraction = || text.parse().ok().filter(|count: &f64| *count >= 0.0);
    let count = text.parse().ok();
    let count = count.or_else(|| fraction().map(|count| count as u64));
    count.filter(|count| *count < MOST)
}

/// No answer has as many tokens. A counter that added up what anybody claims would wrap around.
const MOST: u64 = 1_000_000_000_000_000;
