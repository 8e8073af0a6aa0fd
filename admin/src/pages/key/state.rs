//! The state of a key that a form was made for, and what to say if it has changed since.

use keyside_credentials::{
    Credential,
    audit::{AuditFilter, Event},
};

use crate::{
    entity_tag::{Lineage, SeenState},
    pages::{form::Fields, record_rows::RecordRow, shell::Visit, view::Conflict},
    precondition::IfMatch,
    problem::{Kind, Problem},
};

/// The value of the form's field `etag`.
pub(super) fn etag(visit: &Visit, key: &Credential) -> String {
    SeenState::of_epoch(&visit.state.registry, key.revision).tag()
}

/// The revision that the form was made for. A form without one matches no revision.
pub(super) fn seen(visit: &Visit, fields: &Fields) -> Option<u64> {
    let seen = IfMatch::of_form(fields.text("etag"));
    seen.expected(Lineage::of_epoch(&visit.state.registry))
}

/// The last change, if the problem is that the key has changed. `changes` are those of fields that the
/// form has, in words; without any, the audit record says what was changed.
pub(super) async fn conflict(
    visit: &Visit,
    key: &Credential,
    problem: &Problem,
    changes: String,
    advice: &'static str,
) -> Option<Conflict> {
    if problem.kind() != Kind::PreconditionFailed {
        return None;
    }
    let filter = AuditFilter {
        credential: Some(key.id.clone()),
        event: (!changes.is_empty()).then_some(Event::CredentialEdited),
        ..visit.records_of(&key.workspace)
    };
    let last = visit.newest(1, &filter).await.ok()?.pop()?;
    let name = visit.you_or_name_of(&last.actor);
    let row = RecordRow::of(visit, last, visit.state.registry.now());
    let what = match (changes.as_str(), row.note.as_str()) {
        ("", "") => row.event.word,
        ("", note) => format!("{}: {note}", row.event.word),
        _ => changes,
    };
    Some(Conflict {
        actor: row.actor,
        name,
        at: row.at,
        what,
        advice,
    })
}
