//! Puts on record which version of a secret in Vault is used, and that one is used no more: each once, also over a restart.
//!
//! What requests get never waits for it: a record that cannot be written is tried again at the next look.

use super::{Follower, Known};
use crate::{
    Act, ChangeError, CredentialId,
    audit::{AuditRecord, Draft, Event},
    registry::{Inner, change},
    snapshot::CredentialEntry,
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
        match self.record_source(follower, id, known, &found).await {
            Ok(()) => known.on_record = found,
            Err(error) => tracing::warn!(
                workspace = %follower.workspace,
                credential = %id,
                %error,
                "which version of a secret in Vault is used is not on record yet"
            ),
        }
    }

    /// Under the workspace's lock: nothing is said of a credential that was revoked or erased meanwhile.
    async fn record_source(
        &self,
        follower: &Follower,
        id: &CredentialId,
        known: &Known,
        found: &OnRecord,
    ) -> Result<(), ChangeError> {
        let by = Act::system("vault");
        let _begun = self.begin_in(&by, &follower.workspace).await?;
        let Some(entry) = self.entry_of(follower, id) else {
            return Ok(());
        };
        let Some(reference) = entry.reference() else {
            return Ok(());
        };
        let note = match found {
            OnRecord::Version(version) => format!("{reference}, version {version}"),
            _ => format!("{reference}: {}", known.state.fault().unwrap_or_default()),
        };
        let note: String = note.chars().take(LONGEST_NOTE).collect();
        if known.on_record == OnRecord::Unknown
            && let Some(last) = self.last_of(id).await?
            && says_the_same(&last, found, &note, &entry)
        {
            return Ok(());
        }
        let key = self.keyring.current(&follower.workspace);
        let detail = key.zip(entry.trace()).and_then(|(key, trace)| {
            let fingerprint = &trace.fingerprint;
            change::detail(&key, fingerprint)
        });
        let draft = Draft {
            note: Some(note),
            detail,
            ..change::about(found.event(), &by, &entry.document)
        };
        let head = self.audit.put_on_record(draft).await?;
        self.references.recorded().insert(id.clone(), head.position);
        Ok(())
    }

    /// The last record that tells which secret the credential uses.
    async fn last_of(&self, id: &CredentialId) -> Result<Option<AuditRecord>, ChangeError> {
        let Some(position) = self.references.recorded().get(id).copied() else {
            return Ok(None);
        };
        let mut records = self.audit.records(position, 1).await?;
        Ok(records.pop().filter(|record| record.position == position))
    }
}

/// Whether an earlier process has put it on record. KV version 1 counts nothing: its versions have another text in each process,
/// so that the secret itself tells.
fn says_the_same(
    last: &AuditRecord,
    found: &OnRecord,
    note: &str,
    entry: &CredentialEntry,
) -> bool {
    let is_lost = last.event == Event::CredentialSourceLost;
    match found {
        OnRecord::Lost => is_lost,
        _ if is_lost => false,
        _ => {
            let fingerprint = entry.trace().map(|trace| &trace.fingerprint);
            let is_same = fingerprint.is_some() && last.fingerprint.as_ref() == fingerprint;
            is_same || last.note.as_deref() == Some(note)
        }
    }
}

/// Characters: a record is kept for ever, and a path or a reason may be long.
const LONGEST_NOTE: usize = 500;
