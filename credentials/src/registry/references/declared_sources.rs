//! Records when the secret of a declared credential is lost and when it can be read again: once
//! each, also across restarts and with several authorities.
//!
//! A declared credential has no document and perhaps no workspace in the store, so these records are
//! in the installation's chain, and its state remembers the losses.

use std::{collections::BTreeMap, sync::Weak, time::Duration};

use keyside_store::chain::CommitError;
use tokio::time::timeout;

use super::recorded_source::event_and_note;
use crate::{
    chains::InstallationState,
    declared::SourceAnswer,
    documents::SourceDocument,
    model::{ActorContext, CredentialId},
    record::Draft,
    registry::{Registry, change::about},
};

/// Whether each secret is lost, as this process has last recorded it.
type Recorded = BTreeMap<CredentialId, bool>;

/// Records losses and returns until the registry is dropped.
pub(super) async fn record(registry: Weak<Registry>) {
    let mut recorded = Recorded::new();
    loop {
        let changed = {
            let Some(registry) = registry.upgrade() else {
                return;
            };
            let Some(overlaid) = registry.declared.get() else {
                return;
            };
            if let Err(error) = registry.record_declared_sources(&mut recorded).await {
                tracing::warn!(%error, "the loss or return of a declared credential's secret could not be recorded yet");
            }
            overlaid.declared.changed.clone()
        };
        // After a failure it is tried again, and the registry may be dropped meanwhile.
        let _ = timeout(RETRY_AFTER, changed.notified()).await;
    }
}

impl Registry {
    async fn record_declared_sources(&self, recorded: &mut Recorded) -> Result<(), CommitError> {
        let Some(overlaid) = self.declared.get() else {
            return Ok(());
        };
        let answers = overlaid.declared.source_answers();
        let is_new = |answer: &SourceAnswer<'_>| {
            recorded.get(&answer.document.id) != Some(&answer.is_lost())
        };
        let answers: Vec<_> = answers.filter(is_new).collect();
        if answers.is_empty() {
            return Ok(());
        }
        let mut news = Vec::new();
        let changed = |state: &mut InstallationState| {
            let is_news = |answer: &&SourceAnswer<'_>| {
                state.remember_loss(&answer.document.id, answer.is_lost())
            };
            news = answers.iter().filter(is_news).collect::<Vec<_>>();
            news.iter().map(|answer| answer.draft()).collect()
        };
        let gate = self.gate.read().await;
        self.record_news("secrets of declared credentials", changed)
            .await?;
        drop(gate);
        for answer in news {
            let current = overlaid.declared.snapshot.load();
            let entry = current.credential(&answer.document.id);
            if let Some(((_, entry), change)) = entry.zip(answer.draft().event.change()) {
                self.publish_change(&entry.document, change);
            }
        }
        let lost = answers
            .iter()
            .map(|answer| (answer.document.id.clone(), answer.is_lost()));
        recorded.extend(lost);
        Ok(())
    }
}

impl SourceAnswer<'_> {
    fn is_lost(&self) -> bool {
        self.found == SourceDocument::Lost
    }

    fn draft(&self) -> Draft {
        let (event, note) = event_and_note(self.source, &self.found, self.fault.clone());
        Draft {
            note: Some(note),
            ..about(event, &ActorContext::system("declared"), self.document)
        }
    }
}

const RETRY_AFTER: Duration = Duration::from_secs(60);
