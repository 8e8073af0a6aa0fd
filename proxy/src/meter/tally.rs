//! The counts so far: the latest value of each, and the sums computed from them.
//!
//! Within one response counts are cumulative, so the latest value of each wins: a message that has
//! only some counts leaves the others unchanged, and `null` changes nothing. Over HTTP a request
//! has one response; a WebSocket has many, which are added up.

use keyside_config::Sign;
use keyside_credentials::runs::Tokens;

use super::rules::{Rule, Rules, Sum};

/// The counts of one response, or of all responses of a WebSocket.
#[derive(Default)]
pub(super) struct Tally {
    /// Indexed by the counts' numbers.
    counts: Box<[Option<u64>]>,
    /// For a WebSocket: the responses that have ended.
    before: Option<EndedAnswers>,
}

/// Responses that have ended.
struct EndedAnswers {
    cost: Tokens,
    /// What the current message has reported so far, by rule.
    reported: Box<[Reported]>,
}

#[derive(Clone, Copy, Default)]
struct Reported {
    count: bool,
    ending: bool,
}

impl Tally {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            counts: vec![None; rules.counts].into(),
            before: None,
        }
    }

    /// Called if there may be more than one response.
    pub(super) fn expect_many(&mut self, rules: &Rules) {
        self.before = Some(EndedAnswers {
            cost: Tokens::default(),
            reported: vec![Reported::default(); rules.rules.len()].into(),
        });
    }

    /// Stores a number, or another word, that was found at a node.
    pub(super) fn note_word(&mut self, rules: &Rules, node: usize, word: &[u8]) {
        let counts = rules.counts_at(node);
        if !counts.is_empty()
            && let Some(number) = whole_number(word)
        {
            for count in counts {
                self.counts[count.number] = Some(number);
                if let Some(before) = &mut self.before {
                    before.reported[count.rule].count = true;
                }
            }
        }
        self.note_text(rules, node, word);
    }

    /// Handles a string at a node, which may mark the end of a response.
    pub(super) fn note_text(&mut self, rules: &Rules, node: usize, text: &[u8]) {
        if let Some(before) = &mut self.before {
            for rule in rules.ended_by(node, text) {
                before.reported[rule].ending = true;
            }
        }
    }

    /// Called at the end of a message, which may end a response of a WebSocket.
    pub(super) fn end_message(&mut self, rules: &Rules) {
        let Some(before) = &mut self.before else {
            return;
        };
        let reported = &before.reported;
        let ended = || {
            let rules = rules.rules.iter().zip(reported.iter());
            rules.filter(|(rule, reported)| reported.ends(rule))
        };
        let cost = figures(ended().map(|(rule, _)| rule), &self.counts);
        for (rule, _) in ended() {
            self.counts[rule.counts.clone()].fill(None);
        }
        before.cost = combine(before.cost, cost, added);
        before.reported.fill(Reported::default());
    }

    pub(super) fn tokens(&self, rules: &Rules) -> Tokens {
        let present = figures(rules.rules.iter(), &self.counts);
        match &self.before {
            Some(before) => combine(before.cost, present, added),
            None => present,
        }
    }
}

impl Reported {
    fn ends(self, rule: &Rule) -> bool {
        match rule.has_endings {
            true => self.ending,
            false => self.count,
        }
    }
}

/// The token counts: for each figure, from the first rule that has it.
fn figures<'a>(rules: impl Iterator<Item = &'a Rule>, counts: &[Option<u64>]) -> Tokens {
    rules.fold(Tokens::default(), |known, rule| {
        combine(known, rule.read(counts), Option::or)
    })
}

impl Rule {
    fn read(&self, counts: &[Option<u64>]) -> Tokens {
        let figure = |sums: &[Sum]| sums.iter().find_map(|sum| sum.read(counts));
        Tokens {
            input: figure(&self.input),
            output: figure(&self.output),
            cached_input: figure(&self.cached_input),
            cache_write: figure(&self.cache_write),
            reasoning: figure(&self.reasoning),
        }
    }
}

impl Sum {
    fn read(&self, counts: &[Option<u64>]) -> Option<u64> {
        let first = counts[self.first]?;
        self.more
            .iter()
            .try_fold(first, |sum, (sign, number)| match sign {
                Sign::Plus => sum.checked_add(counts[*number].unwrap_or(0)),
                Sign::Minus => sum.checked_sub(counts[*number]?),
            })
    }
}

fn combine(one: Tokens, other: Tokens, how: fn(Option<u64>, Option<u64>) -> Option<u64>) -> Tokens {
    Tokens {
        input: how(one.input, other.input),
        output: how(one.output, other.output),
        cached_input: how(one.cached_input, other.cached_input),
        cache_write: how(one.cache_write, other.cache_write),
        reasoning: how(one.reasoning, other.reasoning),
    }
}

/// An unknown count of one response leaves the known count of another.
fn added(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        _ => one.or(other),
    }
}

/// Parses a count. Cohere writes counts as floating-point numbers.
fn whole_number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let fraction = || {
        let number = text.parse::<f64>().ok();
        let number = number.filter(|number| *number >= 0.0);
        number.map(|number| number as u64)
    };
    let number = text.parse().ok().or_else(fraction);
    number.filter(|number| *number < MAX_COUNT)
}

/// More tokens than any response has. Without a limit, a false count could overflow a counter.
const MAX_COUNT: u64 = 1_000_000_000_000_000;
