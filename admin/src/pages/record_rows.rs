//! Rows of audit records: the context of `record_rows.html`.

use keyside_credentials::{
    Listed, Timestamp,
    audit::{AuditRecord, Event},
};

use super::{
    keys::provider_name,
    run_rows::words,
    shell::Visit,
    time::Time,
    view::{Badge, text_of},
};

pub(super) struct RecordRow {
    pub(super) at: Time,
    pub(super) event: Badge,
    pub(super) actor: String,
    /// Whether the actor is this person.
    pub(super) you: bool,
    pub(super) key_label: String,
    /// Empty if the record is about no key.
    pub(super) key_href: String,
    pub(super) provider: String,
    pub(super) fingerprint: String,
    pub(super) note: String,
    pub(super) position: u64,
    pub(super) request_id: String,
}

impl RecordRow {
    pub(super) fn of(visit: &Visit, record: AuditRecord, now: Timestamp) -> Self {
        let id = record.credential.as_ref();
        let found = id.and_then(|id| visit.state.registry.find(id));
        let label = match found {
            Some(Listed::Known(key)) => key.label.to_string(),
            _ => text_of(id),
        };
        let provider = record.provider.as_ref();
        Self {
            at: Time::new(Some(record.at), now),
            event: event(record.event),
            you: record.actor == visit.session.actor,
            actor: record.actor.to_string(),
            key_label: label,
            key_href: id.map_or_else(String::new, |id| format!("{}/keys/{id}", visit.base())),
            provider: provider.map_or_else(String::new, |id| provider_name(visit, id)),
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
        Event::CredentialUndecryptable | Event::DocumentDamaged | Event::AuditDamaged => {
            Badge::bad(word)
        }
        _ => Badge::plain(word),
    }
}
