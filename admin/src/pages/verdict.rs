//! What a provider says of a key, for people.

use keyside_credentials::Verification;

use super::{marked::Text, view::Notice};
use crate::{
    problem::{Problem, sentence},
    wire::CheckView,
};

/// The result of a live check. `provider` is the provider's name.
pub(super) fn notice(check: &CheckView, provider: &str) -> Notice {
    let (tone, title, otherwise) = match check.verdict {
        Verification::Accepted => (
            "good",
            format!("{provider} accepts the key"),
            "Requests with it can succeed.",
        ),
        Verification::Limited => (
            "warn",
            format!("{provider} accepts the key in part"),
            "Some requests with it may fail.",
        ),
        Verification::Rejected => (
            "bad",
            format!("{provider} rejects the key"),
            "Requests with it fail. Check the key on the provider's page.",
        ),
        Verification::Unreachable => (
            "warn",
            format!("{provider} could not be asked"),
            "Nothing is known about the key. Try again later.",
        ),
        Verification::Inconclusive => (
            "warn",
            "The check cannot tell".to_owned(),
            "The response says nothing about the key.",
        ),
    };
    let said = check.remediation.as_deref();
    let text = said.map_or_else(|| otherwise.into(), |said| Text::marked(&sentence(said)));
    Notice::new(tone, title, text)
}

/// Why a form that stores a key did not store it.
pub(super) struct Refused {
    pub(super) notice: Notice,
    /// Whether storing the key without a check is a choice: a check did not accept it.
    pub(super) can_skip: bool,
}

impl Refused {
    /// `fields` are those beside which the form shows errors.
    pub(super) fn of(problem: &Problem, provider: &str, fields: &[&str]) -> Self {
        let Some(check) = problem.check() else {
            return Self {
                notice: Notice::refusal(problem, fields),
                can_skip: false,
            };
        };
        let said = notice(check, provider);
        let text = Text::from("Nothing was stored.").and(said.text);
        Self {
            notice: Notice { text, ..said },
            can_skip: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::marked::tests::shown, *};

    fn check(verdict: Verification, remediation: Option<&str>) -> CheckView {
        CheckView {
            verdict,
            cause: None,
            remediation: remediation.map(str::to_owned),
            status: None,
            latency_ms: None,
            usage: None,
            at: None,
        }
    }

    #[test]
    fn every_verdict_says_what_it_means_for_requests() {
        for (verdict, tone, title) in [
            (Verification::Accepted, "good", "Groq accepts the key"),
            (
                Verification::Limited,
                "warn",
                "Groq accepts the key in part",
            ),
            (Verification::Rejected, "bad", "Groq rejects the key"),
            (Verification::Unreachable, "warn", "Groq could not be asked"),
            (Verification::Inconclusive, "warn", "The check cannot tell"),
        ] {
            let said = notice(&check(verdict, None), "Groq");
            assert_eq!((said.tone, &*said.title), (tone, title));
            assert!(shown(&said.text).ends_with('.'), "{title}");
        }
    }

    #[test]
    fn the_next_step_of_a_cause_is_told() {
        let check = check(Verification::Rejected, Some("no funds. Add some."));
        assert_eq!(shown(&notice(&check, "Groq").text), "No funds. Add some.");
    }
}
