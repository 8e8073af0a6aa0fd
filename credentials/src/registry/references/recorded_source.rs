//! Puts on record which version of a secret in Vault is used, and that one is used no more: each once, also over a restart.
//!
//! What requests get never waits for it: a record that cannot be written is tried again at the next look.

use super::{Follower, Known};
use crate::{
    documents::SourceDocument,
    model::{ActorContext, CredentialId},
    record::Event,
    registry::{
        ChangeError, Inner,
        change::{CredentialEdit, retry_on_race},
    },
};

/// What the audit log says of the secret that a credential uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum RecordedSource {
    /// Nobody has looked since the start.
    #[default]
    Unknown,
    /// This version, as Vault counts.
    Version(String),
    /// None.
    Lost,
}

impl RecordedSource {
    /// What there is to be put on record; nothing while nobody can tell how the secret stands.
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

impl Inner {
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
                "which version of a secret in Vault is used is not on record yet"
            ),
        }
    }

    /// On the workspace as it is now: nothing is said of a credential that was revoked or erased meanwhile.
    async fn record_source(
        &self,
        id: &CredentialId,
        known: &Known,
        found: &RecordedSource,
    ) -> Result<(), ChangeError> {
        let by = ActorContext::system("vault");
        let mut edit = match self.begin_edit(&by, id).await {
            // It was erased or found damaged meanwhile.
            Err(ChangeError::CredentialUnknown | ChangeError::Damaged) => return Ok(()),
            edit => edit?,
        };
        let Some(reference) = edit.entry.reference() else {
            return Ok(());
        };
        let note = match found {
            RecordedSource::Version(version) => format!("{reference}, version {version}"),
            _ => format!("{reference}: {}", known.state.fault().unwrap_or_default()),
        };
        let note: String = note.chars().take(MAX_NOTE_CHARS).collect();
        if known.recorded_source == RecordedSource::Unknown && edit.matches_record(found) {
            return Ok(());
        }
        edit.document.source = Some(match found {
            RecordedSource::Version(version) => SourceDocument::Version(version.clone()),
            _ => SourceDocument::Lost,
        });
        let metadata = edit.metadata(edit.document.current)?;
        let mut draft = edit.record(found.event(), &by, &metadata);
        draft.note = Some(note);
        edit.commit(draft, None).await
    }
}

impl CredentialEdit<'_> {
    /// Whether an earlier process has put it on record. KV version 1 counts nothing: its versions have another text in each
    /// process, so that the secret itself tells.
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

    /// Whether the secret that was read is the one that the record was about.
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

/// Characters: a record is kept for ever, and a path or a reason may be long.
const MAX_NOTE_CHARS: usize = 500;
