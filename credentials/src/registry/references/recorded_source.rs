//! Records which version of a secret in Vault is in use, and when a secret is lost: once each, also
//! across restarts.
//!
//! Requests do not wait for it: the next poll retries a failed record.

use std::fmt;

use super::{Follower, Known};
use crate::{
    chains::Priority,
    documents::SourceDocument,
    model::{ActorContext, CredentialId},
    record::Event,
    registry::{
        ChangeError, Registry,
        change::{CredentialEdit, Decision, retry_on_race},
    },
};

impl Registry {
    pub(super) async fn record_source_change(
        &self,
        follower: &Follower,
        id: &CredentialId,
        known: &mut Known,
    ) {
        let Some(found) = known.state.answer() else {
            return;
        };
        if known.recorded_source.as_ref() == Some(&found) {
            return;
        }
        match retry_on_race!(self.record_source(id, known, &found)) {
            Ok(()) => known.recorded_source = Some(found),
            Err(error) => tracing::warn!(
                workspace = %follower.workspace,
                credential = %id,
                %error,
                "the version of a secret in Vault could not be recorded yet"
            ),
        }
    }

    /// On the workspace's current state: a revoked or erased credential gets no record.
    async fn record_source(
        &self,
        id: &CredentialId,
        known: &Known,
        found: &SourceDocument,
    ) -> Result<(), ChangeError> {
        let by = ActorContext::system("vault");
        let decided = self.change_credential(&by, id, Priority::Normal, |edit| {
            edit.decide_source_record(&by, known, found)
        });
        match decided.await {
            // It was erased or found damaged meanwhile.
            Err(ChangeError::CredentialUnknown | ChangeError::Damaged | ChangeError::KeyLost) => {
                Ok(())
            }
            recorded => recorded,
        }
    }
}

impl CredentialEdit<'_> {
    fn decide_source_record(
        mut self,
        by: &ActorContext,
        known: &Known,
        found: &SourceDocument,
    ) -> Result<Decision<()>, ChangeError> {
        let Some(reference) = self.entry.reference() else {
            return Ok(Decision::unchanged(()));
        };
        let (event, note) = event_and_note(&reference, found, known.state.fault());
        if known.recorded_source.is_none() && self.matches_record(found) {
            return Ok(Decision::unchanged(()));
        }
        if self.workspace.damage.is_none() {
            self.expect_named_key()?;
        }
        self.document.source = Some(found.clone());
        let metadata = self.metadata(self.document.current)?;
        let mut draft = self.record(event, by, &metadata);
        draft.note = Some(note);
        Ok(self.commit(draft, None, ()))
    }

    /// Whether an earlier process recorded the same. KV version 1 has no version numbers: the
    /// versions made here differ in each process, so the secret itself is compared.
    fn matches_record(&self, found: &SourceDocument) -> bool {
        match (&self.entry.document.source, found) {
            (Some(before), now) if before == now => true,
            (Some(SourceDocument::Version(_)), SourceDocument::Version(_)) => self.is_same_secret(),
            _ => false,
        }
    }

    fn is_same_secret(&self) -> bool {
        let document = &self.entry.document;
        let recorded = document.open_metadata(document.current, self.keyring());
        let now = self.entry.metadata();
        let (Ok(recorded), Some(now)) = (recorded, now) else {
            return false;
        };
        recorded.fingerprint == now.fingerprint
    }
}

/// The event of a record about a source, and the record's note.
pub(super) fn event_and_note(
    source: &dyn fmt::Display,
    found: &SourceDocument,
    fault: Option<String>,
) -> (Event, String) {
    let (event, note) = match found {
        SourceDocument::Version(version) => (
            Event::CredentialSourceChanged,
            format!("{source}, version {version}"),
        ),
        SourceDocument::Lost => (
            Event::CredentialSourceLost,
            format!("{source}: {}", fault.unwrap_or_default()),
        ),
    };
    (event, note.chars().take(MAX_NOTE_CHARS).collect())
}

/// In characters. Records are permanent, and paths and reasons may be long.
const MAX_NOTE_CHARS: usize = 500;
