//! The JSON format of exports. Separate from the views, so that either can change without the
//! other.

use keyside_config::ProviderId;
use serde_json::{Value, json};

use crate::{
    documents::Defaults,
    model::{Credential, Listed, LostCredential, Status},
    record::AuditRecord,
    runs::StoredRun,
    snapshot::WorkspaceEntry,
};

pub(super) fn workspace(entry: &WorkspaceEntry) -> Value {
    let document = &entry.document;
    json!({
        "id": document.id,
        "name": document.name,
        "createdBy": document.created_by,
        "createdAt": document.created_at,
        "revision": document.revision,
        "defaults": document.defaults.iter().map(default).collect::<serde_json::Map<_, _>>(),
        "limits": document.limits,
        "damaged": entry.damage.is_some(),
    })
}

fn default((provider, defaults): (&ProviderId, &Defaults)) -> (String, Value) {
    let defaults = json!({ "live": defaults.live, "sandbox": defaults.sandbox });
    (provider.to_string(), defaults)
}

pub(super) fn listed(listed: &Listed) -> Value {
    match listed {
        Listed::Known(known) => credential(known),
        Listed::Lost(lost) => lost_credential(lost),
    }
}

/// Unknown fields are null.
fn lost_credential(lost: &LostCredential) -> Value {
    json!({
        "id": lost.id,
        "provider": null,
        "label": null,
        "environment": null,
        "status": lost.is_revoked.then_some(Status::Revoked),
        "usageTag": null,
        "expiresAt": null,
        "endpoint": null,
        "limits": null,
        "secretRef": null,
        "fingerprint": null,
        "hint": null,
        "createdBy": null,
        "createdAt": null,
        "lastRotatedAt": null,
        "lastUsedAt": lost.last_used_at,
        "lastVerifiedAt": null,
        "verification": null,
        "versions": [],
        "default": lost.is_default,
        "revision": lost.revision,
        "damaged": true,
    })
}

fn credential(credential: &Credential) -> Value {
    let versions = credential.versions.iter().map(|version| {
        json!({
            "number": version.number,
            "state": version.state,
            "createdAt": version.created_at,
            "graceUntil": version.grace_until,
        })
    });
    json!({
        "id": credential.id,
        "provider": credential.provider,
        "label": credential.label,
        "environment": credential.environment,
        "status": credential.status,
        "usageTag": credential.usage_tag,
        "expiresAt": credential.expires_at,
        "endpoint": credential.endpoint,
        "limits": credential.limits,
        "secretRef": credential.reference.as_ref().map(|reference| {
            json!({
                "mount": reference.mount,
                "path": reference.path,
                "field": reference.field,
                "version": reference.version,
            })
        }),
        "fingerprint": credential.fingerprint,
        "hint": credential.hint,
        "createdBy": credential.created_by,
        "createdAt": credential.created_at,
        "lastRotatedAt": credential.last_rotated_at,
        "lastUsedAt": credential.last_used_at,
        "lastVerifiedAt": credential.last_verified_at,
        "verification": credential.verification,
        "versions": versions.collect::<Vec<_>>(),
        "default": credential.is_default,
        "revision": credential.revision,
        "damaged": credential.damaged,
    })
}

pub(super) fn record(record: &AuditRecord) -> Value {
    json!({
        "position": record.position,
        "at": record.at,
        "event": record.event,
        "actor": record.actor,
        "requestId": record.request_id,
        "credentialId": record.credential,
        "provider": record.provider,
        "fingerprint": record.fingerprint,
        "note": record.note,
        "hash": record.hash,
        "previous": record.previous,
    })
}

pub(super) fn run(run: &StoredRun) -> Value {
    json!({
        "at": run.at,
        "requestId": run.request_id,
        "kind": run.kind,
        "provider": run.provider,
        "credentialId": run.used.as_ref().map(|used| &used.credential),
        "version": run.used.as_ref().map(|used| used.version),
        "label": run.used.as_ref().map(|used| &used.label),
        "environment": run.used.as_ref().map(|used| used.environment),
        "refused": run.refused,
        "status": run.status,
        "outcome": run.outcome,
        "latencyUs": run.latency_us,
        "timeToFirstByteUs": run.first_byte_us,
        "inputTokens": run.tokens.input,
        "outputTokens": run.tokens.output,
        "cachedInputTokens": run.tokens.cached_input,
        "cacheWriteTokens": run.tokens.cache_write,
        "reasoningTokens": run.tokens.reasoning,
        "runId": run.run_id,
        "tag": run.tag,
    })
}
