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
        change::{Held, decided},
    },
};

/// What the audit log says of the secret that a credential uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum OnRecord {
    /// Nobody has looked since the start.
    #[default]
    Unknown,
    /// This version, as Vault counts.
    Version(String),
    /// None.
    Lost,
}

impl OnRecord {
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
    pub(super) async fn put_on_record(
        &self,
        follower: &Follower,
        id: &CredentialId,
        known: &mut Known,
    ) {
        let Some(found) = OnRecord::of(known) else {
            return;
        };
        if known.on_record == found {
            return;
        }
        match decided!(self.record_source(id, known, &found)) {
            Ok(()) => known.on_record = found,
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
        found: &OnRecord,
    ) -> Result<(), ChangeError> {
        let by = ActorContext::system("vault");
        let mut held = match self.hold(&by, id).await {
            // It was erased or found damaged meanwhile.
            Err(ChangeError::CredentialUnknown | ChangeError::Damaged) => return Ok(()),
            held => held?,
        };
        let Some(reference) = held.entry.reference() else {
            return Ok(());
        };
        let note = match found {
            OnRecord::Version(version) => format!("{reference}, version {version}"),
            _ => format!("{reference}: {}", known.state.fault().unwrap_or_default()),
        };
        let note: String = note.chars().take(LONGEST_NOTE).collect();
        if known.on_record == OnRecord::Unknown && held.says_the_same(found) {
            return Ok(());
        }
        held.document.source = Some(match found {
            OnRecord::Version(version) => SourceDocument::Version(version.clone()),
            _ => SourceDocument::Lost,
        });
        let trace = held.trace(held.document.current)?;
        let mut draft = held.record(found.event(), &by, &trace);
        draft.note = Some(note);
        held.commit(draft, None).await
    }
}

impl Held<'_> {
    /// Whether an earlier process has put it on record. KV version 1 counts nothing: its versions have another text in each
    /// process, so that the secret itself tells.
    fn says_the_same(&self, found: &OnRecord) -> bool {
        match (&self.entry.document.source, found) {
            (Some(SourceDocument::Lost), found) => *found == OnRecord::Lost,
            (_, OnRecord::Lost) => false,
            (Some(SourceDocument::Version(before)), OnRecord::Version(now)) if before == now => {
                true
            }
            (Some(_), _) => self.is_same_secret(),
            (None, _) => false,
        }
    }

    /// Whether the secret that was read is the one that the record was about.
    fn is_same_secret(&self) -> bool {
        let document = &self.entry.document;
        let recorded = document.open_trace(document.current, self.keyring());
        let now = self.entry.trace();
        let (Ok(recorded), Some(now)) = (recorded, now) else {
            return false;
        };
        recorded.fingerprint == now.fingerprint
    }
}

/// Characters: a record is kept for ever, and a path or a reason may be long.
const LONGEST_NOTE: usize = 500;
