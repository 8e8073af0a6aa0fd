//! Executes a run: checks its keys in parallel, each within its workspace's caps, at most twice.

use std::{sync::Arc, time::Duration};

use keyside_config::{CheckKind, EnvironmentPin};
use keyside_store::StorageError;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    LEDGER, Smoke,
    ledger::{Ledger, Run, Trigger},
    outcome::{Class, SmokeResult},
    plan::Subject,
    series::{Begin, Series},
    spend::Cap,
};
use crate::{
    live_check::Finding,
    model::{Credential, Refusal, Status, WorkspaceId},
    resolver::{CredentialQuery, Grant},
    runs::sum_reported,
    spend::DayTotals,
};

impl Smoke {
    /// Executes a run that was taken, until it is finished or its lease is lost.
    pub(super) async fn execute(self: Arc<Self>, run: Run) {
        tokio::select! {
            () = self.check_all(&run) => {}
            () = self.keep_lease(&run) => {
                tracing::warn!(run = %run.id, "another task or process continues a smoke run");
                return;
            }
        }
        if let Err(error) = self.finish(&run).await {
            tracing::warn!(%error, run = %run.id, "the end of a smoke run could not be noted");
        }
    }

    /// Marks a run as finished, once its results are on disk.
    async fn finish(&self, run: &Run) -> Result<(), StorageError> {
        self.notes.sync().await?;
        let now = self.registry.clock.now();
        let finish = |ledger: &mut Ledger| ledger.finish(run, now);
        self.notes.update(LEDGER, finish).await
    }

    /// Returns when the lease is lost.
    async fn keep_lease(&self, run: &Run) {
        loop {
            sleep(RENEWAL).await;
            let now = self.registry.clock.now();
            let renew = |ledger: &mut Ledger| ledger.renew(run, now);
            match self.notes.update(LEDGER, renew).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "the lease of a smoke run was not renewed"),
            }
        }
    }

    /// Dropping the returned future aborts the checks in progress.
    async fn check_all(self: &Arc<Self>, run: &Run) {
        let mut checks = JoinSet::new();
        for subject in self.plan(&run.selection) {
            let (smoke, run) = (self.clone(), run.clone());
            checks.spawn(async move {
                // Never an error: the semaphore is never closed.
                let _permit = smoke.permits.clone().acquire_owned().await;
                if let Err(error) = smoke.check(&run, &subject).await {
                    let (workspace, provider) = (&subject.workspace, &subject.provider);
                    tracing::error!(%error, %workspace, %provider, "a smoke check could not be noted");
                }
            });
        }
        while checks.join_next().await.is_some() {}
    }

    async fn check(&self, run: &Run, subject: &Subject) -> Result<(), StorageError> {
        let Some(planned) = &subject.credential else {
            return self.note_missing(run, subject).await;
        };
        // It may have waited for a permit.
        let found = self.registry.credential(&planned.id);
        let Some(credential) = found.filter(|found| found.status != Status::Revoked) else {
            return Ok(());
        };
        let Some(version) = self.registry.in_use(&credential) else {
            return Ok(());
        };
        let now = self.registry.clock.now();
        let begin = |series: &mut Series| (series.begin(run, &version, now), series.clone());
        let note = self.series_note(subject);
        match self.notes.update(&note, begin).await? {
            (Begin::Go, _) => {}
            (Begin::Done, _) => return Ok(()),
            (Begin::Interrupted, series) => {
                if let Some(result) = series.last() {
                    self.count(subject, result, &series);
                    announce(&credential, result, &series);
                }
                return Ok(());
            }
        }
        let result = self.attempt(&credential).await?.of_run(run);
        let (is_new, series) = self.record(subject, &result).await?;
        if is_new {
            announce(&credential, &result, &series);
        }
        Ok(())
    }

    async fn note_missing(&self, run: &Run, subject: &Subject) -> Result<(), StorageError> {
        // Nothing was tagged, so it is not about a missing key.
        if run.trigger == Trigger::Change {
            return Ok(());
        }
        let now = self.registry.clock.now();
        let result = SmokeResult::missing(&self.settings.usage_tag, now).of_run(run);
        self.record(subject, &result).await?;
        let (workspace, provider) = (&subject.workspace, &subject.provider);
        tracing::warn!(%workspace, %provider, detail = %result.detail, "a smoke check failed");
        Ok(())
    }

    async fn attempt(&self, credential: &Credential) -> Result<SmokeResult, StorageError> {
        let now = self.registry.clock.now();
        let grant = match self.grant(credential) {
            Ok(grant) => grant,
            Err(refusal) => return Ok(SmokeResult::refused(refusal, now)),
        };
        let first = match self.send(&grant).await? {
            Ok(result) => result,
            Err(cap) => return Ok(SmokeResult::capped(cap, now)),
        };
        if !first.may_retry() || self.settings.retry == Duration::ZERO {
            return Ok(first);
        }
        sleep(self.settings.retry).await;
        match self.send(&grant).await {
            Ok(Ok(second)) => Ok(SmokeResult {
                tokens: sum_reported(first.tokens, second.tokens),
                attempts: 2,
                ..second
            }),
            Ok(Err(_cap)) => Ok(first),
            Err(error) => {
                tracing::warn!(%error, "a smoke check was not sent again");
                Ok(first)
            }
        }
    }

    /// The key of a credential, as a request with its label gets it. An expired or damaged one is
    /// not asked for: the audit log would record a refused use.
    fn grant(&self, credential: &Credential) -> Result<Grant, Refusal> {
        if credential.status == Status::Expired {
            return Err(Refusal::CredentialExpired);
        }
        if credential.damaged {
            return Err(Refusal::CredentialUndecryptable);
        }
        let granted = self.registry.resolver().resolve(&CredentialQuery {
            workspace: credential.workspace.as_str(),
            provider: credential.provider.as_str(),
            label: Some(credential.label.as_str()),
            environment: Some(credential.environment),
            pin: EnvironmentPin::Any,
        })?;
        // The label may belong to another one by now.
        match *granted.credential_id() == credential.id {
            true => Ok(granted),
            false => Err(Refusal::LabelUnknown),
        }
    }

    /// Sends one request, after it was counted on disk.
    async fn send(&self, grant: &Grant) -> Result<Result<SmokeResult, Cap>, StorageError> {
        let (workspace, reserved) = (grant.workspace(), self.reserved_tokens(grant));
        let sent = self.registry.clock.now();
        let reserve = |spend: &mut DayTotals| spend.reserve(sent, reserved, &self.settings);
        let counted = self.notes.update(&spend_note(workspace), reserve).await?;
        if let Err(cap) = counted {
            return Ok(Err(cap));
        }
        self.notes.sync().await?;
        let started = Instant::now();
        let finding = Finding::of(grant, self.live_check.clone()).await;
        let latency = started.elapsed();
        let result = SmokeResult {
            latency_ms: u64::try_from(latency.as_millis()).ok(),
            ..SmokeResult::of(finding, self.registry.clock.now())
        };
        let used = result.tokens;
        let settle = |spend: &mut DayTotals| spend.settle(sent, reserved, used);
        if let Err(error) = self.notes.update(&spend_note(workspace), settle).await {
            tracing::warn!(%error, %workspace, "what a smoke check used counts as what was set aside for it");
        }
        Ok(Ok(result))
    }

    /// The tokens that a check may use: none, unless its request has a prompt.
    fn reserved_tokens(&self, grant: &Grant) -> u64 {
        let kind = match self.settings.prompt {
            true => CheckKind::Prompt,
            false => CheckKind::Request,
        };
        let provider = self.registry.catalogue.get(grant.provider());
        let has_prompt = provider.is_some_and(|provider| {
            let (request, _) = provider.check.choose(kind);
            request.body.is_some()
        });
        if has_prompt { PROMPT_TOKENS } else { 0 }
    }
}

fn announce(credential: &Credential, result: &SmokeResult, series: &Series) {
    let (workspace, provider, id) = (&credential.workspace, &credential.provider, &credential.id);
    let verdict = result.verdict.as_str();
    let (status, latency_ms) = (result.status, result.latency_ms);
    match result.verdict.class() {
        Class::Passed => tracing::info!(
            %workspace, %provider, credential = %id, verdict, status, latency_ms,
            "a smoke check passed"
        ),
        Class::Failed => tracing::warn!(
            %workspace, %provider, credential = %id, verdict, status, latency_ms,
            consecutive = series.consecutive_failures,
            "a smoke check failed"
        ),
        Class::Skipped => tracing::warn!(
            %workspace, %provider, credential = %id, verdict,
            "a smoke check has no result"
        ),
    }
}

/// The note of what a workspace has spent. It outlives an erasure: a successor of the same id
/// begins with what was spent today.
pub(super) fn spend_note(workspace: &WorkspaceId) -> String {
    format!("smoke/spend/{workspace}")
}

/// Three renewals fit into a lease.
const RENEWAL: Duration = Duration::from_secs(10);

/// Set aside for a check with a prompt, until the provider says what it used. The prompts of the
/// catalogue are a few words, and limit the output to 16 tokens.
const PROMPT_TOKENS: u64 = 64;
