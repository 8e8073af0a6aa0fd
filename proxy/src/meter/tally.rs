//! What has been reported so far: the latest of each count, and the sums that they make.
//!
//! Within one answer counts are cumulative, wherever in it they stand, so the latest wins, each for itself: a message that
//! has only some of them takes nothing from the others, and `null` says nothing. Over HTTP an answer is what one request
//! gets; in a WebSocket there are many, which add up.

use keyside_config::Sign;
use keyside_credentials::runs::Tokens;

use super::rules::{Rule, Rules, Sum};

/// The counts of one answer, or of all answers of a WebSocket.
#[derive(Default)]
pub(super) struct Tally {
    /// By their numbers.
    counts: Box<[Option<u64>]>,
    /// In a WebSocket: those before the one that the counts are of.
    before: Option<EndedAnswers>,
}

/// Answers that have ended.
struct EndedAnswers {
    cost: Tokens,
    /// What the present message has said so far, by rule.
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

    /// There may be more than one answer.
    pub(super) fn expect_many(&mut self, rules: &Rules) {
        self.before = Some(EndedAnswers {
            cost: Tokens::default(),
            reported: vec![Reported::default(); rules.rules.len()].into(),
        });
    }

    /// Notes a number, or another word, at a node.
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

    /// Notes a text at a node, which ends an answer or says nothing.
    pub(super) fn note_text(&mut self, rules: &Rules, node: usize, text: &[u8]) {
        if let Some(before) = &mut self.before {
            for rule in rules.ended_by(node, text) {
                before.reported[rule].ending = true;
            }
        }
    }

    /// A message is over, and in a WebSocket maybe an answer.
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

/// What the counts come to: for each figure, the first rule that knows it.
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

/// What is unknown of one answer leaves what is known of another.
fn added(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        _ => one.or(other),
    }
}

/// A count. Cohere writes its own as floating-point numbers.
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

/// No answer has as many tokens. A counter that added up what anybody claims would wrap around.
const MAX_COUNT: u64 = 1_000_000_000_000_000;
