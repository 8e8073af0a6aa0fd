//! Records a finding once, however often it is made.

use keyside_store::chain::{CommitError, Damage};

use super::{Registry, open::RESTORE};
use crate::{
    chains::{InstallationState, Priority},
    model::ActorContext,
    record::{Draft, Event},
    snapshot::DamageReport,
};

impl Registry {
    /// Commits `draft` to the installation's chain, unless `key` was recorded before.
    pub(super) async fn record_once(&self, key: &str, draft: Draft) -> Result<(), CommitError> {
        let news = |state: &mut InstallationState| match state.remember(key) {
            true => vec![draft.clone()],
            false => Vec::new(),
        };
        self.record_news(key, news).await
    }

    /// Commits the records that `news` returns, with the state in which it remembers them.
    pub(super) async fn record_news(
        &self,
        finding: &str,
        news: impl FnMut(&mut InstallationState) -> Vec<Draft>,
    ) -> Result<(), CommitError> {
        let _changing = self.chains.installation().lock(Priority::Normal).await;
        match self.chains.change_state(news).await {
            // Nothing can be remembered, so each start would record it again.
            Err(CommitError::Damaged(damage @ Damage::DocumentGone { .. })) => {
                tracing::warn!(%damage, finding, "recorded at the first start after the document is put back");
                Ok(())
            }
            recorded => recorded,
        }
    }

    /// Records each finding once, although every start finds it again.
    pub(super) async fn report(&self, findings: Vec<DamageReport>) -> Result<(), CommitError> {
        for finding in findings {
            let DamageReport {
                location, damage, ..
            } = &finding;
            tracing::error!(
                location,
                "a document failed authentication and is not used: {damage}"
            );
            let hash = finding.hash.map(|hash| hash.to_string());
            let key = format!("{location} {}", hash.unwrap_or_default());
            let draft = Draft {
                note: Some(format!("{location}: {damage}")),
                workspace: finding.workspace,
                credential: finding.credential,
                ..Draft::new(Event::DocumentDamaged, &ActorContext::system("start"))
            };
            self.record_once(&key, draft).await?;
        }
        Ok(())
    }

    /// Records that the `state` document is damaged: at each start, because nothing else remembers
    /// what was recorded.
    pub(super) async fn report_state(&self) -> Result<(), CommitError> {
        let Err(error) = self.chains.installation_state().await else {
            return Ok(());
        };
        let damage = error.into_damage().map_err(CommitError::NotBegun)?;
        tracing::error!(
            %damage,
            "until it is put back, the master key cannot be rotated, and no other damage is recorded: {RESTORE}"
        );
        let by = ActorContext::system("start");
        let draft = Draft::noted(Event::DocumentDamaged, &by, damage.to_string());
        let _changing = self.chains.installation().lock(Priority::Normal).await;
        let committed = self
            .chains
            .commit_to_installation(|_| (vec![draft.clone()], Vec::new()));
        committed.await
    }
}
