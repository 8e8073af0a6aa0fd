//! What came of a check, in Keyside's own words.

use jiff::Timestamp;
use keyside_config::{Cause, Verification};
use serde::{Deserialize, Serialize};

use super::{ledger::Run, spend::Cap};
use crate::{
    live_check::Finding,
    model::{Refusal, named},
    runs::Tokens,
};

named! {
    /// What came of a check.
    pub enum Verdict {
        /// The provider accepts the key.
        Accepted = "accepted",
        /// The provider knows the key, but restricts it.
        Limited = "limited",
        /// The provider refuses the key.
        Rejected = "rejected",
        /// The provider could not be reached, or has a failure.
        Unreachable = "unreachable",
        /// The provider responded, and the response says nothing about the key.
        Inconclusive = "inconclusive",
        /// Keyside does not use the key: it has expired, is damaged, or cannot be read.
        Unusable = "unusable",
        /// A key is expected, and none has the tag.
        Missing = "missing",
        /// Nothing was sent, because the day's requests or tokens are used up: those of smoke runs, of
        /// the key, or of its workspace.
        Capped = "capped",
        /// Keyside ended after the request was noted, so its result is unknown.
        Interrupted = "interrupted",
    }
}

/// What a verdict means for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Requests with this key can succeed.
    Passed,
    /// They fail, or there is no key.
    Failed,
    /// Unknown. Changes no count of failures.
    Skipped,
}

impl Verdict {
    /// Whether the check passed.
    pub fn class(self) -> Class {
        match self {
            Self::Accepted | Self::Limited => Class::Passed,
            Self::Rejected
            | Self::Unreachable
            | Self::Inconclusive
            | Self::Unusable
            | Self::Missing => Class::Failed,
            Self::Capped | Self::Interrupted => Class::Skipped,
        }
    }

    /// What to do next; `None` if the check says that the key works.
    pub fn remediation(self) -> Option<&'static str> {
        Some(match self {
            Self::Accepted => return None,
            Self::Limited => {
                "Check the key's permissions, its rate limits and the remaining budget in the provider's console."
            }
            Self::Rejected => {
                "Create a new key in the provider's console and rotate to it (`keyside key rotate ID`), or revoke this one."
            }
            Self::Unreachable => {
                "Check the provider's status page, and Keyside's log for what prevented the connection; `keyside doctor` checks the route."
            }
            Self::Inconclusive => {
                "Check that base_url or the key's endpoint leads to the provider, and run it again."
            }
            Self::Unusable => {
                "`keyside key show ID` says what is wrong: rotate to a new key, or restore a backup."
            }
            Self::Missing => {
                "Add a key with this usage tag (`keyside key add --usage-tag`), or remove the provider from smoke.expected."
            }
            Self::Capped => {
                "Wait until midnight UTC, or raise what is used up: the cap in the settings, or the limit of the key or its workspace."
            }
            Self::Interrupted => "Run it again: `keyside smoke`.",
        })
    }
}

/// What is kept of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmokeResult {
    /// The run; `None` if the result was posted.
    pub run: Option<String>,
    /// When the check ended.
    pub at: Timestamp,
    /// The verdict.
    pub verdict: Verdict,
    /// Why the provider does not accept the key without reservation, if it is known.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// The HTTP status of the last response, if there was one.
    pub status: Option<u16>,
    /// How long the provider took, in milliseconds, including connecting.
    pub latency_ms: Option<u64>,
    /// Input and output tokens; `None` if the provider did not say.
    pub tokens: Option<u64>,
    /// For people; never text of the provider.
    pub detail: String,
    /// Requests that were sent, or 0.
    pub attempts: u8,
}

impl SmokeResult {
    /// Of one request. The only place that knows the form of a finding.
    pub(super) fn of(finding: Finding, at: Timestamp) -> Self {
        let verdict = match finding.verification {
            Verification::Accepted => Verdict::Accepted,
            Verification::Limited => Verdict::Limited,
            Verification::Rejected => Verdict::Rejected,
            Verification::Unreachable => Verdict::Unreachable,
            Verification::Inconclusive => Verdict::Inconclusive,
        };
        let detail = match finding.cause {
            Some(cause) => format!("{finding}: {}", cause.meaning()),
            None => finding.to_string(),
        };
        Self {
            cause: finding.cause,
            status: finding.status,
            tokens: finding.tokens.and_then(Tokens::total),
            attempts: 1,
            ..Self::unsent(verdict, &detail, at)
        }
    }

    /// Keyside itself refuses to use the key.
    pub(super) fn refused(refusal: Refusal, at: Timestamp) -> Self {
        // The key may be sound.
        if let Refusal::BudgetExhausted(_) = refusal {
            let detail = "not sent, today's limit of the key or its workspace is used up";
            return Self::unsent(Verdict::Capped, detail, at);
        }
        let detail = format!("not used, {refusal} ({})", refusal.code());
        Self::unsent(Verdict::Unusable, &detail, at)
    }

    pub(super) fn missing(usage_tag: &str, at: Timestamp) -> Self {
        let detail = format!("a key with the usage tag {usage_tag} is expected, and there is none");
        Self::unsent(Verdict::Missing, &detail, at)
    }

    pub(super) fn capped(cap: Cap, at: Timestamp) -> Self {
        Self::unsent(Verdict::Capped, &format!("not sent, {cap}"), at)
    }

    pub(super) fn interrupted(at: Timestamp) -> Self {
        let detail = "sent or about to be sent when Keyside ended, so the result is unknown";
        Self {
            attempts: 1,
            ..Self::unsent(Verdict::Interrupted, detail, at)
        }
    }

    pub(super) fn posted(verdict: Verdict, status: Option<u16>, at: Timestamp) -> Self {
        let name = verdict.as_str();
        let detail = match status {
            Some(status) => format!("posted: {name}, the provider responded with {status}"),
            None => format!("posted: {name}"),
        };
        Self {
            status,
            attempts: 1,
            ..Self::unsent(verdict, &detail, at)
        }
    }

    fn unsent(verdict: Verdict, detail: &str, at: Timestamp) -> Self {
        Self {
            run: None,
            at,
            verdict,
            cause: None,
            status: None,
            latency_ms: None,
            tokens: None,
            // Our own words are shorter; a note has no room for more.
            detail: detail.chars().take(MAX_DETAIL).collect(),
            attempts: 0,
        }
    }

    pub(super) fn of_run(self, run: &Run) -> Self {
        Self {
            run: Some(run.id.clone()),
            ..self
        }
    }

    /// Whether a second attempt may end differently.
    pub(super) fn may_retry(&self) -> bool {
        // A provider that also answers 429 when there are no funds has another cause then.
        let is_busy = self.cause == Some(Cause::RateLimited);
        self.verdict == Verdict::Unreachable || is_busy
    }
}

/// Characters of the text of a result.
const MAX_DETAIL: usize = 160;
