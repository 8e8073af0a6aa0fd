//! Records which version of a secret in Vault is in use, and when a secret is lost: once each, also
//! across restarts.
//!
//! Requests do not wait for it: the next poll retries a failed record.

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

/// The last audit record about a credential's secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum RecordedSource {
    /// Not looked up since the start.
    #[default]
    Unknown,
    /// This version is in use, by Vault's count.
    Version(String),
    /// The secret is lost.
    Lost,
}

impl RecordedSource {
    /// What to record; `None` while the state of the secret is unknown.
    fn of(known: &Known) -> Option<Self> {
        match known.state.version() {
            Some(version) => Some(Self::Version(version.to_owned())),
            None => known.state.is_gone().then_some(Self::Lost),
        }
    }

    fn event(&self) -> Event {
        match self {
            Self::Lost => Event::CredentialSourceLost,
            Self::Unknown | Self::Version(_) => Event::CredentialSourceChanged,
        }
    }
}

impl Registry {
    pub(super) async fn record_source_change(
        &self,
        follower: &Follower,
        id: &CredentialId,
        known: &mut Known,
    ) {
        let Some(found) = RecordedSource::of(known) else {
            return;
        };
        if known.recorded_source == found {
            return;
        }
        match retry_on_race!(self.record_source(id, known, &found)) {
            Ok(()) => known.recorded_source = found,
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
        found: &RecordedSource,
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
        found: &RecordedSource,
    ) -> Result<Decision<()>, ChangeError> {
        let Some(reference) = self.entry.reference() else {
            return Ok(Decision::unchanged(()));
        };
        let note = match found {
            RecordedSource::Version(version) => format!("{reference}, version {version}"),
            _ => format!("{reference}: {}", known.state.fault().unwrap_or_default()),
        };
        let note: String = note.chars().take(MAX_NOTE_CHARS).collect();
        if known.recorded_source == RecordedSource::Unknown && self.matches_record(found) {
            return Ok(Decision::unchanged(()));
        }
        self.document.source = Some(match found {
            RecordedSource::Version(version) => SourceDocument::Version(version.clone()),
            _ => SourceDocument::Lost,
        });
        let metadata = self.metadata(self.document.current)?;
        let mut draft = self.record(found.event(), by, &metadata);
        draft.note = Some(note);
        Ok(self.commit(draft, None, ()))
    }

    /// Whether an earlier process recorded the same. KV version 1 has no version numbers: the
    /// versions made here differ in each process, so the secret itself is compared.
    fn matches_record(&self, found: &RecordedSource) -> bool {
        match (&self.entry.document.source, found) {
            (Some(SourceDocument::Lost), found) => *found == RecordedSource::Lost,
            (_, RecordedSource::Lost) => false,
            (Some(SourceDocument::Version(before)), RecordedSource::Version(now))
                if before == now =>
            {
                true
            }
            (Some(_), _) => self.is_same_secret(),
            (None, _) => false,
        }
    }

    /// Whether the secret that was read is the recorded one.
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

/// In characters. Records are permanent, and paths and reasons may be long.
const MAX_NOTE_CHARS: usize = 500;
