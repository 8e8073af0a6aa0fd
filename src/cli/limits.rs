//! Options and rows for limits on what requests may spend in a day.

use std::num::NonZeroU64;

use clap::Args;
use keyside_admin::wire::{Limits, LimitsEdit, UsageView};
use keyside_credentials::UsageState;

#[derive(Args)]
pub(super) struct NewLimits {
    /// Refuse requests beyond this number in a UTC day
    #[arg(long, value_name = "NUMBER", value_parser = per_day)]
    requests_per_day: Option<NonZeroU64>,
    /// Refuse requests once this number of input and output tokens was used in a UTC day
    #[arg(long, value_name = "NUMBER", value_parser = per_day)]
    tokens_per_day: Option<NonZeroU64>,
}

#[derive(Args)]
pub(super) struct ChangedLimits {
    #[command(flatten)]
    new: NewLimits,
    /// Remove the limit on requests
    #[arg(long, conflicts_with = "requests_per_day")]
    no_requests_per_day: bool,
    /// Remove the limit on tokens
    #[arg(long, conflicts_with = "tokens_per_day")]
    no_tokens_per_day: bool,
}

impl NewLimits {
    pub(super) fn limits(&self) -> Option<Limits> {
        let limits = Limits {
            requests_per_day: self.requests_per_day,
            tokens_per_day: self.tokens_per_day,
        };
        (limits != Limits::default()).then_some(limits)
    }
}

impl ChangedLimits {
    /// `None` if none of the options is given.
    pub(super) fn change(&self) -> Option<LimitsEdit> {
        let changed = |new: Option<NonZeroU64>, is_removed: bool| {
            new.map(Some).or_else(|| is_removed.then_some(None))
        };
        let change = LimitsEdit {
            requests_per_day: changed(self.new.requests_per_day, self.no_requests_per_day),
            tokens_per_day: changed(self.new.tokens_per_day, self.no_tokens_per_day),
        };
        (change != LimitsEdit::default()).then_some(change)
    }
}

/// Rows for a table of fields: one for each limit, such as `requests today: 812 of 1000`, and the
/// state once the nearest limit is at 80 % or more.
pub(super) fn rows(
    limits: Option<Limits>,
    usage: Option<UsageView>,
) -> impl Iterator<Item = (&'static str, String)> {
    let row = |name, limit: Option<NonZeroU64>, used: Option<u64>| {
        Some((name, format!("{} of {}", used?, limit?)))
    };
    let limits = limits.unwrap_or_default();
    let requests = usage.and_then(|usage| usage.requests_today);
    let requests = row("requests today", limits.requests_per_day, requests);
    let tokens = usage.and_then(|usage| usage.tokens_today);
    let tokens = row("tokens today", limits.tokens_per_day, tokens);
    let state = usage.filter(|usage| usage.state != UsageState::Ok);
    let state = state.map(|usage| ("limits", usage.state.as_str().to_owned()));
    requests.into_iter().chain(tokens).chain(state)
}

fn per_day(text: &str) -> Result<NonZeroU64, String> {
    let limit = text.parse::<NonZeroU64>().ok();
    limit
        .filter(|limit| limit.get() <= MAX_PER_DAY)
        .ok_or_else(|| format!("expected a whole number from 1 to {MAX_PER_DAY}"))
}

const MAX_PER_DAY: u64 = keyside_credentials::Limits::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_positive_number_within_the_maximum() {
        assert_eq!(per_day("1").unwrap().get(), 1);
        assert_eq!(per_day("1000000000000").unwrap().get(), MAX_PER_DAY);
        for wrong in ["0", "-1", "1.5", "1k", "", "1000000000001"] {
            let said = per_day(wrong).unwrap_err();
            assert_eq!(said, "expected a whole number from 1 to 1000000000000");
        }
    }
}
