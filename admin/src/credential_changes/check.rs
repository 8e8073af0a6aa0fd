//! Live checks: before a secret is stored, and their results on the wire.

use std::time::Duration;

use jiff::Timestamp;
use keyside_config::Provider;
use keyside_credentials::{
    ChangeError, CheckBeforeSave, Credential, Finding, LastCheck, runs::Tokens,
};

use crate::{
    access::Caller,
    concurrency::{ConcurrencyPermit, WorkKind},
    problem::Problem,
    state::AdminState,
    wire::{CheckMode, CheckView, TokenUsage},
};

/// What a request to store a secret wants checked.
#[derive(Clone, Copy)]
pub(crate) struct CheckRequest {
    mode: CheckMode,
    prompt: bool,
}

impl CheckRequest {
    /// From the fields `check` and `prompt` of a body.
    pub(super) fn of(check: Option<CheckMode>, prompt: Option<bool>) -> Self {
        Self {
            mode: check.unwrap_or_default(),
            prompt: prompt.unwrap_or(false),
        }
    }
}

/// A check before a secret is stored, with its permit.
pub(super) struct SaveCheck {
    pub(super) check: CheckBeforeSave,
    prompt: bool,
    /// Why the provider is not asked although it should be.
    unasked: Option<&'static str>,
    _permit: Option<ConcurrencyPermit>,
}

impl SaveCheck {
    /// # Errors
    /// A check is required, and the token has another one in progress.
    pub(super) fn begin(
        state: &AdminState,
        caller: &Caller,
        wanted: CheckRequest,
    ) -> Result<Self, Problem> {
        let permit = || state.concurrency.try_acquire(WorkKind::LiveCheck, caller);
        let check = state.check(wanted.prompt);
        let (check, unasked, permit) = match wanted.mode {
            CheckMode::Skip => (CheckBeforeSave::Skip, None, None),
            CheckMode::Required => (CheckBeforeSave::Required(check), None, Some(permit()?)),
            CheckMode::Try => match permit() {
                Ok(permit) => (CheckBeforeSave::Try(check), None, Some(permit)),
                Err(_) => (CheckBeforeSave::Skip, Some(BUSY), None),
            },
        };
        Ok(Self {
            check,
            prompt: wanted.prompt,
            unasked,
            _permit: permit,
        })
    }

    /// Warnings about the result.
    pub(super) fn warnings(
        &self,
        finding: Option<&Finding>,
        provider: Option<&Provider>,
    ) -> Vec<String> {
        let unasked = self.unasked.map(str::to_owned);
        let advice = finding.and_then(|finding| advice(finding, provider));
        let unprompted = finding.and_then(|_| unprompted(self.prompt, provider));
        unasked
            .into_iter()
            .chain(advice)
            .chain(unprompted)
            .collect()
    }
}

/// A warning if a prompt was wanted that the provider does not have.
pub(super) fn unprompted(prompt: bool, provider: Option<&Provider>) -> Option<String> {
    let lacks_prompt = provider.is_none_or(|provider| provider.check.prompt.is_none());
    (prompt && lacks_prompt).then(|| {
        "the catalogue has no prompt for this provider, so the cheapest request was sent instead"
            .to_owned()
    })
}

/// The verdict and the next step, unless the provider accepts the secret.
pub(super) fn advice(finding: &Finding, provider: Option<&Provider>) -> Option<String> {
    let remediation = remediation(finding, provider)?;
    Some(format!("{finding}: {remediation}"))
}

/// What the cause means, and the next step.
fn remediation(finding: &Finding, provider: Option<&Provider>) -> Option<String> {
    let cause = finding.cause?;
    let meaning = cause.meaning();
    Some(match provider {
        Some(provider) => format!("{meaning}. {}", provider.next_step(cause)),
        None => format!("{meaning}."),
    })
}

/// The error of storing a secret. A failed check names the verdict, its cause and the next step.
pub(super) fn problem(error: ChangeError, provider: Option<&Provider>) -> Problem {
    let ChangeError::CheckFailed(finding) = error else {
        return error.into();
    };
    let cause = finding.cause.zip(provider);
    let remedy =
        cause.map(|(cause, provider)| format!("Nothing was stored. {}", provider.next_step(cause)));
    let view = CheckView::of(&finding, None, provider);
    Problem::from(error).with_check(view, remedy)
}

impl CheckView {
    fn of(finding: &Finding, at: Option<Timestamp>, provider: Option<&Provider>) -> Self {
        let milliseconds =
            |latency: Duration| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        Self {
            verdict: finding.verification,
            cause: finding.cause,
            remediation: remediation(finding, provider),
            status: finding.status,
            latency_ms: finding.latency.map(milliseconds),
            usage: finding.tokens.map(TokenUsage::of),
            at,
        }
    }

    /// The last check of a credential's secret in use.
    pub(crate) fn last(state: &AdminState, credential: &Credential) -> Option<Self> {
        let LastCheck { at, finding, .. } = state.registry.last_check(&credential.id)?;
        let provider = state.provider(&credential.provider);
        Some(Self::of(&finding, Some(at), provider))
    }
}

impl TokenUsage {
    fn of(tokens: Tokens) -> Self {
        Self {
            input_tokens: tokens.input,
            output_tokens: tokens.output,
            cached_input_tokens: tokens.cached_input,
            cache_write_tokens: tokens.cache_write,
            reasoning_tokens: tokens.reasoning,
        }
    }
}

const BUSY: &str = "the provider was not asked about the secret, because another live check with this token is in \
                    progress; check it later";
