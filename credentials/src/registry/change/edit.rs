//! Edits a credential without its secret.

use std::sync::Arc;

use keyside_store::Effect;

use super::{ChangeOutcome, Decision, credential_edit::CredentialEdit, other_label, with_default};
use crate::{
    chains::Priority,
    documents::WorkspaceDocument,
    model::{ActorContext, CredentialId, Warning, WorkspaceId},
    record::Event,
    registry::{ChangeError, Edit, Registry, Saved},
};

impl Registry {
    /// Edits everything except the secret.
    ///
    /// # Errors
    /// Why not, or a failure of storage; nothing has changed then.
    pub async fn edit(
        self: &Arc<Self>,
        by: &ActorContext,
        id: &CredentialId,
        edit: Edit,
    ) -> Result<Saved, ChangeError> {
        let (by, id) = (by.clone(), id.clone());
        let outcome = self
            .run_to_completion(|registry| async move {
                retry_on_race!(registry.edit_once(&by, &id, edit.clone()))
            })
            .await?;
        self.saved(outcome)
    }

    /// An edit that changes nothing is not recorded.
    async fn edit_once(
        &self,
        by: &ActorContext,
        id: &CredentialId,
        wanted: Edit,
    ) -> Result<ChangeOutcome, ChangeError> {
        let decided =
            self.change_credential(by, id, Priority::Normal, |edit| edit.decide(by, wanted));
        let edited = decided.await?;
        if let Some(workspace) = edited.ends_sooner_in {
            // Linked at once, so that an older state cannot bring the later end back.
            self.links.changed(&workspace, true);
        }
        Ok(ChangeOutcome {
            id: id.clone(),
            warnings: edited.replaced.into_iter().collect(),
            repeated: false,
            finding: None,
        })
    }
}

struct Edited {
    /// Another credential is the default no longer.
    replaced: Option<Warning>,
    /// The workspace, if the credential's life became shorter.
    ends_sooner_in: Option<WorkspaceId>,
}

impl CredentialEdit<'_> {
    fn decide(mut self, by: &ActorContext, wanted: Edit) -> Result<Decision<Edited>, ChangeError> {
        self.expect_open(wanted.expected)?;
        let (settings, replaced) = self.settings(wanted.default)?;
        let mut changed = self.apply(wanted)?;
        changed.extend(settings.is_some().then_some("default"));
        if changed.is_empty() {
            return Ok(Decision::unchanged(Edited {
                replaced,
                ends_sooner_in: None,
            }));
        }
        let metadata = self.metadata(self.document.current)?;
        let mut draft = self.record(Event::CredentialEdited, by, &metadata);
        // Field names only: a label may be a person's name, and the log is permanent.
        draft.note = Some(changed.join(", "));
        let ends_sooner = self.ends_sooner();
        if changed == ["expiresAt"] && ends_sooner {
            draft.effect = Effect::EndsSooner;
        }
        let ends_sooner_in = ends_sooner.then(|| self.document.workspace.clone());
        let edited = Edited {
            replaced,
            ends_sooner_in,
        };
        Ok(self.commit(draft, settings, edited))
    }

    /// The workspace's new document if the default changes, and a warning if that replaces another
    /// default.
    fn settings(
        &self,
        default: Option<bool>,
    ) -> Result<(Option<WorkspaceDocument>, Option<Warning>), ChangeError> {
        let is_default = self.workspace.is_default(&self.document);
        match default {
            Some(true) if !is_default => {
                let before = self
                    .workspace
                    .default(&self.document.provider, self.document.environment);
                let replaced = other_label(before, &self.document.id);
                Ok((
                    Some(with_default(&self.workspace.document, &self.document)),
                    replaced.map(|label| Warning::DefaultReplaced { label }),
                ))
            }
            Some(false) if is_default => Err(ChangeError::DefaultNeeded),
            _ => Ok((None, None)),
        }
    }

    /// Whether the edit shortens the credential's life.
    fn ends_sooner(&self) -> bool {
        let (before, now) = (self.entry.document.expires_at, self.document.expires_at);
        now.is_some_and(|now| before.is_none_or(|before| now < before))
    }

    /// Applies the other fields, and returns the names of those that changed.
    fn apply(&mut self, wanted: Edit) -> Result<Vec<&'static str>, ChangeError> {
        let mut changed = Vec::new();
        if let Some(label) = wanted.label.filter(|label| *label != self.document.label) {
            if self.workspace.has_label(&self.document.provider, &label) {
                return Err(ChangeError::LabelTaken(label));
            }
            if self.is_secret_in(label.as_str()) {
                return Err(ChangeError::LabelRepeatsSecret);
            }
            self.document.label = label;
            changed.push("label");
        }
        if let Some(tag) = wanted.usage_tag
            && tag != self.document.usage_tag
        {
            if tag
                .as_ref()
                .is_some_and(|tag| self.is_secret_in(tag.as_str()))
            {
                return Err(ChangeError::UsageTagRepeatsSecret);
            }
            self.document.usage_tag = tag;
            changed.push("usageTag");
        }
        if let Some(end) = wanted.expires_at
            && end != self.document.expires_at
        {
            self.expect_future(Some(end))?;
            self.document.expires_at = end;
            changed.push("expiresAt");
        }
        let limits = self.document.limits.with(wanted.limits);
        if limits != self.document.limits {
            self.document.limits = limits;
            changed.push("limits");
        }
        Ok(changed)
    }
}
