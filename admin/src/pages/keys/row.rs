//! A row of the table.

use keyside_config::Verification;
use keyside_credentials::{Credential, Listed, LostCredential, Status, Timestamp};

use crate::pages::{
    shell::Visit,
    time::Time,
    view::{Badge, text_of},
};

#[derive(Default)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) href: String,
    pub(super) label: String,
    pub(super) hint: String,
    pub(super) fingerprint: String,
    pub(super) provider: String,
    pub(super) status: Badge,
    pub(super) environment: Badge,
    pub(super) is_default: bool,
    pub(super) tag: String,
    pub(super) last_rotated: Time,
    pub(super) last_used: Time,
    pub(super) expires: Time,
    /// `over` where the expiry needs attention.
    pub(super) expires_tone: &'static str,
    /// What is wrong with it for requests.
    pub(super) traffic: Option<Badge>,
    /// Where its secret is kept, if not here.
    pub(super) source: &'static str,
    /// Whether it is over: revoked or expired.
    pub(super) ended: bool,
}

impl Row {
    pub(super) fn of(visit: &Visit, listed: &Listed, now: Timestamp) -> Self {
        let href = visit.key_href(listed.id());
        match listed {
            Listed::Known(key) => Self::known(visit, key, now, href),
            Listed::Lost(lost) => Self::lost(lost, now, href),
        }
    }

    fn known(visit: &Visit, key: &Credential, now: Timestamp, href: String) -> Self {
        let ended = matches!(key.status, Status::Revoked | Status::Expired);
        let is_unread = key.declared.is_some() && key.fingerprint.is_none();
        let traffic = match (key.damaged, ended) {
            (true, _) => Some(Badge::bad("Record damaged")),
            (false, false) if is_unread => Some(Badge::bad("Cannot be read")),
            (false, false) if is_rejected(key) => Some(Badge::bad("Rejected")),
            _ => None,
        };
        let is_near_end = matches!(key.status, Status::Expiring | Status::Expired);
        Self {
            id: key.id.to_string(),
            href,
            label: key.label.to_string(),
            hint: text_of(key.hint.as_ref()),
            fingerprint: text_of(key.fingerprint.as_ref()),
            provider: visit.provider_name(&key.provider),
            status: Badge::status(key.status),
            environment: Badge::environment(key.environment),
            is_default: key.is_default && key.status != Status::Revoked,
            tag: text_of(key.usage_tag.as_ref()),
            last_rotated: Time::new(key.last_rotated_at, now),
            last_used: Time::new(key.last_used_at, now),
            expires: Time::new(key.expires_at, now),
            expires_tone: if is_near_end { "over" } else { "" },
            traffic,
            source: match (&key.reference, &key.declared) {
                (Some(_), _) => "kept in Vault",
                (None, Some(_)) => "declared in the settings",
                (None, None) => "",
            },
            ended,
        }
    }

    /// Its record cannot be read, so only the workspace's map tells of it.
    fn lost(lost: &LostCredential, now: Timestamp, href: String) -> Self {
        Self {
            id: lost.id.to_string(),
            href,
            label: lost.id.to_string(),
            provider: "unknown".to_owned(),
            status: match lost.is_revoked {
                true => Badge::status(Status::Revoked),
                false => Badge::unknown(),
            },
            environment: Badge::unknown(),
            is_default: lost.is_default && !lost.is_revoked,
            last_used: Time::new(lost.last_used_at, now),
            traffic: Some(Badge::bad("Record damaged")),
            ended: lost.is_revoked,
            ..Self::default()
        }
    }
}

/// Whether the provider refused the key at the last live check, or refuses it in traffic.
pub(in crate::pages) fn is_rejected(key: &Credential) -> bool {
    key.verification == Some(Verification::Rejected) || key.rejection.is_some()
}
