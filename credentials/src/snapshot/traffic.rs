//! Whether providers reject credentials in traffic.
//!
//! All entries of a credential share one [`TrafficHealth`]. A success costs one atomic load, unless
//! the credential was rejected before; only rejections and the first success after them take the
//! lock. What is noted belongs to one secret: a rotation makes it void without a write.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use keyside_config::ProviderId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{CredentialEntry, SecretInUse, Snapshot};
use crate::model::{
    CredentialEvent, CredentialEventKind, RejectedCredential, Rejection, RejectionCause,
    TrafficCounts,
};

/// The rejections of one credential, if there are any.
#[derive(Default)]
pub(crate) struct TrafficHealth {
    /// Set while something is noted, for whichever secret.
    is_noted: AtomicBool,
    noted: Mutex<Option<Noted>>,
}

struct Noted {
    stored: StoredRejection,
    /// The revision of the entry that was rejected last.
    revision: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredRejection {
    secret: SecretInUse,
    rejection: Rejection,
}

/// The provider accepted a request with this entry's secret. Once per response.
pub(crate) fn accepted(entry: &CredentialEntry) {
    let health = &entry.signals.traffic;
    if !health.is_noted.load(Ordering::Relaxed) {
        return;
    }
    let ended = {
        let mut noted = health.noted.lock();
        // A late success of an older secret says nothing about the newer one.
        let is_older = |noted: &Noted| entry.document.revision < noted.revision;
        if noted.as_ref().is_some_and(is_older) {
            return;
        }
        health.is_noted.store(false, Ordering::Relaxed);
        noted.take()
    };
    if let Some(Noted { stored, .. }) = ended {
        let recovered = CredentialEventKind::RecoveredInTraffic(stored.rejection);
        publish(entry, recovered);
    }
}

/// The provider rejected this entry's secret. Once per response.
pub(crate) fn rejected(entry: &CredentialEntry, cause: RejectionCause) {
    let Some(secret) = secret_in_use(entry) else {
        return;
    };
    let health = &entry.signals.traffic;
    let revision = entry.document.revision;
    {
        let mut noted = health.noted.lock();
        match &mut *noted {
            Some(noted) if noted.stored.secret == secret => {
                noted.revision = revision.max(noted.revision);
                noted.stored.rejection.count += 1;
                noted.stored.rejection.cause = cause;
                return;
            }
            // A late rejection of an older secret.
            Some(noted) if revision < noted.revision => return,
            _ => {}
        }
        let rejection = Rejection {
            since: entry.signals.notices.clock.now(),
            count: 1,
            cause,
        };
        *noted = Some(Noted {
            stored: StoredRejection { secret, rejection },
            revision,
        });
        health.is_noted.store(true, Ordering::Relaxed);
    }
    publish(entry, CredentialEventKind::RejectedInTraffic(cause));
}

/// The rejections of the secret in use, unless the credential is revoked.
pub(crate) fn rejection(entry: &CredentialEntry) -> Option<Rejection> {
    stored(entry).map(|stored| stored.rejection)
}

/// The same, in the form that is stored.
pub(crate) fn stored(entry: &CredentialEntry) -> Option<StoredRejection> {
    let health = &entry.signals.traffic;
    if !health.is_noted.load(Ordering::Relaxed) || entry.document.revoked_at.is_some() {
        return None;
    }
    let in_use = secret_in_use(entry)?;
    let noted = health.noted.lock();
    let noted = noted.as_ref()?;
    (noted.stored.secret == in_use).then(|| noted.stored.clone())
}

/// Puts stored rejections back, for which traffic since the start counts more.
pub(crate) fn restore(entry: &CredentialEntry, stored: StoredRejection) {
    let health = &entry.signals.traffic;
    let mut noted = health.noted.lock();
    if noted.is_none() {
        *noted = Some(Noted {
            stored,
            revision: 0,
        });
        health.is_noted.store(true, Ordering::Relaxed);
    }
}

/// The credentials that their providers reject, in the order of their workspaces.
pub(crate) fn rejected_credentials(snapshot: &Snapshot) -> Vec<RejectedCredential> {
    let rejected = snapshot.entries().filter_map(|entry| {
        let rejection = rejection(entry)?;
        let document = &entry.document;
        Some(RejectedCredential {
            workspace: document.workspace.clone(),
            provider: document.provider.clone(),
            label: document.label.clone(),
            rejection,
        })
    });
    let mut rejected: Vec<_> = rejected.collect();
    rejected.sort_by_cached_key(|it| {
        let (workspace, provider) = (it.workspace.clone(), it.provider.clone());
        (workspace, provider, it.label.clone())
    });
    rejected
}

/// The number of credentials by provider and state.
pub(crate) fn counts(snapshot: &Snapshot) -> BTreeMap<ProviderId, TrafficCounts> {
    let mut counts = BTreeMap::<_, TrafficCounts>::new();
    for entry in snapshot.entries() {
        if entry.document.revoked_at.is_none() {
            let counts = counts.entry(entry.document.provider.clone()).or_default();
            match rejection(entry) {
                Some(_) => counts.rejected += 1,
                None => counts.ok += 1,
            }
        }
    }
    counts
}

/// The secret that requests use. `None` if none is usable.
fn secret_in_use(entry: &CredentialEntry) -> Option<SecretInUse> {
    entry.usable.is_ok().then(|| entry.secret_in_use())
}

/// The one place where a change of a credential's state in traffic is logged and published.
fn publish(entry: &CredentialEntry, kind: CredentialEventKind) {
    let (document, notices) = (&entry.document, &entry.signals.notices);
    let event = CredentialEvent {
        version: entry.usable.as_ref().ok().map(|usable| usable.version),
        ..document.event(kind, notices.clock.now())
    };
    // A macro, because tracing needs the level as a constant.
    macro_rules! log_event {
        ($level:ident, $cause:expr, $rejected:expr, $message:literal) => {
            tracing::event!(
                tracing::Level::$level,
                workspace = document.workspace.as_str(),
                provider = document.provider.as_str(),
                credential = document.id.as_str(),
                version = event.version,
                label = document.label.as_str(),
                environment = document.environment.as_str(),
                cause = $cause.as_str(),
                rejected = $rejected,
                $message
            )
        };
    }
    match kind {
        CredentialEventKind::RejectedInTraffic(cause) => {
            log_event!(WARN, cause, 1, "the provider rejects a key in traffic");
        }
        CredentialEventKind::RecoveredInTraffic(Rejection { cause, count, .. }) => {
            log_event!(INFO, cause, count, "the provider accepts a key again");
        }
        // Not about traffic: the registry publishes these.
        _ => {}
    }
    notices.publish(event);
}
