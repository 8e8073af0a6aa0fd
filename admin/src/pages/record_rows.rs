//! Rows of audit records: the context of `record_rows.html`.

use keyside_credentials::{
    Listed, Timestamp,
    audit::{AuditRecord, Event},
};

use super::{
    keys::known,
    run_rows::words,
    shell::Visit,
    time::Time,
    view::{Badge, text_of},
};

pub(super) struct RecordRow {
    pub(super) at: Time,
    pub(super) event: Badge,
    pub(super) actor: String,
    /// The actor's name; empty for those who may not read it.
    pub(super) actor_name: String,
    /// Whether the actor is this person.
    pub(super) you: bool,
    pub(super) key_label: String,
    /// Empty if the record is about no key, or about one that was erased.
    pub(super) key_href: String,
    pub(super) provider: String,
    /// Of a sandbox key.
    pub(super) sandbox: Option<Badge>,
    pub(super) fingerprint: String,
    pub(super) note: String,
    pub(super) position: u64,
    pub(super) request_id: String,
}

impl RecordRow {
    pub(super) fn of(visit: &Visit, record: AuditRecord, now: Timestamp) -> Self {
        let key = record.workspace.as_ref().zip(record.credential.as_ref());
        let key = key.and_then(|(workspace, id)| visit.state.registry.find_in(workspace, id));
        let href = |key: &Listed| visit.key_href(key.id());
        let provider = record.provider.as_ref();
        Self {
            at: Time::new(Some(record.at), now),
            event: event(record.event),
            you: record.actor == visit.session.actor,
            actor_name: visit.name_of(&record.actor),
            actor: record.actor.to_string(),
            key_label: key.as_ref().map_or_else(String::new, label),
            key_href: key.as_ref().map_or_else(String::new, href),
            provider: provider.map_or_else(String::new, |id| visit.provider_name(id)),
            sandbox: key
                .as_ref()
                .and_then(known)
                .and_then(|key| Badge::sandbox(key.environment)),
            fingerprint: text_of(record.fingerprint.as_ref()),
            note: record.note.unwrap_or_default(),
            position: record.position,
            request_id: record.request_id,
        }
    }
}

/// What happened, in words.
pub(super) fn event(event: Event) -> Badge {
    let word = words(event.as_str());
    match event {
        Event::CredentialCreated | Event::CredentialRotated => Badge::good(word),
        Event::CredentialSourceLost
        | Event::ExpiredUseAttempted
        | Event::RevokedUseAttempted
        | Event::Refused => Badge::warn(word),
        Event::CredentialUndecryptable | Event::DocumentDamaged => Badge::bad(word),
        _ => Badge::plain(word),
    }
}

/// What people call a key: its label, or its id if its record cannot be read.
pub(super) fn label(key: &Listed) -> String {
    match key {
        Listed::Known(key) => key.label.to_string(),
        Listed::Lost(lost) => lost.id.to_string(),
    }
}
