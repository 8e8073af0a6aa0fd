//! The message about an event, for receivers. Contains no secret: an event has none.

use keyside_config::WebhookEvent;
use keyside_credentials::{
    CredentialChange, CredentialEvent, CredentialEventKind as Kind, Timestamp,
};
use serde_json::{Map, Value, json};

/// An event under an id, which stays the same in every attempt and for every receiver.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) event: WebhookEvent,
    at: Timestamp,
    /// The workspace, and what is known of the credential.
    subject: Map<String, Value>,
    /// What only this kind of event has.
    details: Map<String, Value>,
}

impl Message {
    pub(super) fn new(id: String, event: &CredentialEvent) -> Self {
        Self {
            id,
            event: event_of(event.kind),
            at: event.at,
            subject: subject(event),
            details: details(event.kind),
        }
    }

    /// The payload: type, time and data.
    pub(super) fn payload(&self) -> Value {
        let mut data = self.subject.clone();
        data.extend(self.details.clone());
        json!({
            "type": self.event.as_str(),
            "timestamp": self.at.to_string(),
            "data": data,
        })
    }

    /// The event in one line, for people.
    pub(super) fn text(&self) -> String {
        let part = |name: &str| self.subject.get(name).and_then(Value::as_str);
        let names = ["workspaceId", "provider", "label"].map(part);
        let names: Vec<_> = names.into_iter().flatten().collect();
        let environment = part("environment").map(|environment| format!(" ({environment})"));
        let details = self.details.iter().map(|(name, value)| match value {
            Value::String(text) => format!("; {name}: {text}"),
            value => format!("; {name}: {value}"),
        });
        format!(
            "{}: {}{}{}",
            self.event.as_str(),
            names.join("/"),
            environment.unwrap_or_default(),
            details.collect::<String>()
        )
    }
}

/// The event's name in settings and payloads.
pub(super) fn event_of(kind: Kind) -> WebhookEvent {
    match kind {
        Kind::Changed(change) => match change {
            CredentialChange::Created => WebhookEvent::CredentialCreated,
            CredentialChange::Edited => WebhookEvent::CredentialEdited,
            CredentialChange::Rotated => WebhookEvent::CredentialRotated,
            CredentialChange::RolledBack => WebhookEvent::CredentialRolledBack,
            CredentialChange::Revoked => WebhookEvent::CredentialRevoked,
            CredentialChange::SourceChanged => WebhookEvent::CredentialSourceChanged,
            CredentialChange::SourceLost => WebhookEvent::CredentialSourceLost,
        },
        Kind::WorkspaceErased => WebhookEvent::WorkspaceErased,
        Kind::Expiring(_) => WebhookEvent::CredentialExpiring,
        Kind::RejectedInTraffic(_) => WebhookEvent::CredentialRejected,
        Kind::RecoveredInTraffic(_) => WebhookEvent::CredentialRecovered,
        Kind::CheckFailed(_) => WebhookEvent::CheckFailed,
        Kind::SmokeFailed { .. } => WebhookEvent::SmokeFailed,
    }
}

/// Fields that are unknown, or that the event is not about, are left out.
fn subject(event: &CredentialEvent) -> Map<String, Value> {
    known(json!({
        "workspaceId": event.workspace,
        "provider": event.provider,
        "credentialId": event.credential,
        "version": event.version,
        "label": event.label,
        "environment": event.environment,
    }))
}

fn details(kind: Kind) -> Map<String, Value> {
    known(match kind {
        Kind::Changed(_) | Kind::WorkspaceErased => json!({}),
        Kind::CheckFailed(cause) => json!({ "cause": cause }),
        Kind::Expiring(end) => json!({ "expiresAt": end.to_string() }),
        Kind::RejectedInTraffic(cause) => json!({ "cause": cause }),
        Kind::RecoveredInTraffic(ended) => json!({
            "cause": ended.cause,
            "rejectedSince": ended.since.to_string(),
            "rejectedCount": ended.count,
        }),
        Kind::SmokeFailed {
            verdict,
            consecutive,
        } => json!({ "verdict": verdict, "consecutiveFailures": consecutive }),
    })
}

/// The fields of an object that are not null.
fn known(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => {
            let fields = fields.into_iter();
            fields.filter(|(_, value)| !value.is_null()).collect()
        }
        _ => Map::new(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use keyside_credentials::{Environment, RejectionCause};

    use super::*;

    /// A message about the credential `acme/openai/main`.
    pub(in crate::webhooks) fn message(kind: Kind) -> Message {
        let event = CredentialEvent {
            at: Timestamp::UNIX_EPOCH,
            workspace: "acme".parse().unwrap(),
            provider: Some("openai".parse().unwrap()),
            credential: None,
            version: Some(2),
            label: Some("main".parse().unwrap()),
            environment: Some(Environment::Live),
            kind,
        };
        Message::new("evt_1".to_owned(), &event)
    }

    #[test]
    fn a_payload_has_the_type_the_time_and_what_is_known() {
        let rotated = message(Kind::Changed(CredentialChange::Rotated));
        let expected = json!({
            "type": "credential.rotated",
            "timestamp": "1970-01-01T00:00:00Z",
            "data": {
                "workspaceId": "acme", "provider": "openai", "version": 2, "label": "main",
                "environment": "live",
            },
        });
        assert_eq!(rotated.payload(), expected);
        assert_eq!(
            rotated.text(),
            "credential.rotated: acme/openai/main (live)"
        );
    }

    #[test]
    fn an_event_adds_its_own_details() {
        for (kind, name, value) in [
            (
                Kind::Expiring(Timestamp::UNIX_EPOCH),
                "expiresAt",
                json!("1970-01-01T00:00:00Z"),
            ),
            (
                Kind::RejectedInTraffic(RejectionCause::NoFunds),
                "cause",
                json!("no_funds"),
            ),
            (
                Kind::SmokeFailed {
                    verdict: "unreachable",
                    consecutive: 3,
                },
                "consecutiveFailures",
                json!(3),
            ),
        ] {
            let message = message(kind);
            assert_eq!(message.payload()["data"][name], value);
            let shown = value.as_str().map_or(value.to_string(), str::to_owned);
            let part = format!("{name}: {shown}");
            assert!(message.text().contains(&part), "{}", message.text());
        }
    }
}
