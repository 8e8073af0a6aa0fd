//! What the page of a key shows of it.

use std::num::NonZeroU64;

use keyside_config::Cause;
use keyside_credentials::{
    Credential, Listed, LostCredential, Permission, Rejection, RejectionCause, Status, Timestamp,
    UsageState, Version, VersionState, audit::AuditRecord,
};

use crate::pages::{
    marked::Text,
    number::count,
    shell::Visit,
    time::Time,
    view::{Badge, Notice, text_of},
};

/// Texts are empty where something is unknown or does not apply.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) href: String,
    pub(super) id: String,
    pub(super) label: String,
    pub(super) provider: String,
    /// Status and environment.
    pub(super) badges: Vec<Badge>,
    pub(super) is_default: bool,
    pub(super) hint: String,
    pub(super) fingerprint: String,
    pub(super) tag: String,
    pub(super) endpoint: String,
    pub(super) created: Time,
    pub(super) created_by: String,
    pub(super) last_rotated: Time,
    pub(super) last_used: Time,
    pub(super) expires: Time,
    /// What is limited, with what was spent today.
    pub(super) limits: Vec<String>,
    /// Where its secret is kept, if not here.
    pub(super) source: String,
    pub(super) source_version: String,
    pub(super) source_fault: String,
    /// Whether the source is read again on demand.
    pub(super) can_refresh: bool,
    /// Whether the settings declare it, so that nothing can be changed here.
    pub(super) is_declared: bool,
    /// Whether its record cannot be trusted, so that it can only be revoked.
    pub(super) is_damaged: bool,
    pub(super) revoked: bool,
    pub(super) revoked_at: Time,
    pub(super) revoked_by: String,
}

pub(super) struct VersionRow {
    pub(super) number: u32,
    pub(super) state: Badge,
    pub(super) created: Time,
    /// When it is destroyed, or was; empty while it is in use.
    pub(super) ends: Time,
    pub(super) can_roll_back: bool,
}

/// Another key with the same secret.
pub(in crate::pages) struct Duplicate {
    pub(in crate::pages) href: String,
    pub(in crate::pages) label: String,
    pub(in crate::pages) workspace: String,
    pub(in crate::pages) is_revoked: bool,
}

impl Facts {
    pub(super) fn of(
        visit: &Visit,
        listed: &Listed,
        revocation: Option<&AuditRecord>,
        now: Timestamp,
    ) -> Self {
        let facts = match listed {
            Listed::Known(key) => Self::known(visit, key, now),
            Listed::Lost(lost) => Self::lost(lost, now),
        };
        Self {
            href: visit.key_href(listed.id()),
            id: listed.id().to_string(),
            revoked_at: Time::new(revocation.map(|record| record.at), now),
            revoked_by: text_of(revocation.map(|record| visit.name_or_id_of(&record.actor))),
            ..facts
        }
    }

    fn known(visit: &Visit, key: &Credential, now: Timestamp) -> Self {
        let source = key.declared.as_ref();
        Self {
            label: key.label.to_string(),
            provider: visit.provider_name(&key.provider),
            badges: vec![
                Badge::status(key.status),
                Badge::environment(key.environment),
            ],
            is_default: key.is_default,
            hint: text_of(key.hint.as_ref()),
            fingerprint: text_of(key.fingerprint.as_ref()),
            tag: text_of(key.usage_tag.as_ref()),
            endpoint: text_of(key.endpoint.as_ref()),
            created: Time::new(Some(key.created_at), now),
            created_by: visit.name_or_id_of(&key.created_by),
            last_rotated: Time::new(key.last_rotated_at, now),
            last_used: Time::new(key.last_used_at, now),
            expires: Time::new(key.expires_at, now),
            limits: limits(key),
            source: text_of(source.map(|source| &source.source)),
            source_version: text_of(source.and_then(|source| source.version.as_ref())),
            source_fault: text_of(source.and_then(|source| source.fault.as_ref())),
            can_refresh: key.reference.is_some(),
            is_declared: source.is_some() && key.reference.is_none(),
            is_damaged: key.damaged,
            revoked: key.status == Status::Revoked,
            ..Self::default()
        }
    }

    fn lost(lost: &LostCredential, now: Timestamp) -> Self {
        Self {
            label: lost.id.to_string(),
            provider: "Unknown provider".to_owned(),
            badges: match lost.is_revoked {
                true => vec![Badge::status(Status::Revoked)],
                false => vec![Badge::unknown()],
            },
            is_default: lost.is_default,
            last_used: Time::new(lost.last_used_at, now),
            is_damaged: true,
            revoked: lost.is_revoked,
            ..Self::default()
        }
    }
}

impl Duplicate {
    /// The others, for those who may know.
    pub(in crate::pages) fn all(visit: &Visit, key: &Credential) -> Vec<Self> {
        if !visit.may(Permission::SeeDuplicates) {
            return Vec::new();
        }
        let others = visit.state.registry.duplicates(&key.id).into_iter();
        others
            .map(|other| Self {
                href: visit.key_href(&other.id),
                label: other.label.to_string(),
                workspace: other.workspace.to_string(),
                is_revoked: other.status == Status::Revoked,
            })
            .collect()
    }
}

/// The versions, newest first.
pub(super) fn versions(key: Option<&Credential>, now: Timestamp) -> Vec<VersionRow> {
    let versions = key.map_or(&[][..], |key| key.versions.as_slice());
    let row = |version: &Version| {
        let ends = version.grace_until;
        VersionRow {
            number: version.number,
            state: match version.state {
                VersionState::Current => Badge::good("In use"),
                VersionState::Grace => Badge::warn("In grace"),
                VersionState::Destroyed => Badge::plain("Destroyed"),
            },
            created: Time::new(Some(version.created_at), now),
            ends: Time::new(ends.or(version.destroyed_at), now),
            can_roll_back: ends.is_some_and(|end| end > now),
        }
    };
    versions.iter().rev().map(row).collect()
}

/// What needs attention, and what to do about it.
pub(super) fn notices(visit: &Visit, listed: &Listed, href: &str, now: Timestamp) -> Vec<Notice> {
    let key = match listed {
        Listed::Lost(lost) if lost.is_revoked => return Vec::new(),
        Listed::Lost(_) => return vec![damaged()],
        Listed::Known(key) if key.damaged => return vec![damaged()],
        Listed::Known(key) if key.status == Status::Revoked => return Vec::new(),
        Listed::Known(key) => key,
    };
    let may_change = visit.may(Permission::ChangeCredentials);
    let can_rotate = may_change && key.declared.is_none();
    let can_edit = may_change && (key.declared.is_none() || key.reference.is_some());
    let edit = || format!("{href}/edit");
    let rejected = key.rejection.map(|rejection| {
        let notice = rejected(visit, key, rejection, now);
        notice.leading_if(can_rotate, format!("{href}/rotate"), "Rotate the key")
    });
    let ending = match key.status {
        Status::Expired => Some((
            "Expired".to_owned(),
            "Requests no longer use it. Set a later expiry if the provider still accepts it.",
        )),
        Status::Expiring => Some((
            format!("Expires {}", Time::new(key.expires_at, now).relative),
            "Requests stop using it then. Set a later expiry: rotating it alone does not move it.",
        )),
        Status::Active | Status::Revoked => None,
    };
    let ending = ending.map(|(title, text)| {
        Notice::new("warn", title, text).leading_if(can_edit, edit(), "Edit the expiry")
    });
    let spent = match key.usage.map(|usage| usage.state) {
        Some(UsageState::Warning) => Some((
            "warn",
            "Near its limit for today",
            "At least 80 % is used. At the limit, requests are refused until 00:00 UTC.",
        )),
        Some(UsageState::Exhausted) => Some((
            "bad",
            "Its limit for today is reached",
            "Requests with it are refused until 00:00 UTC, or until the limit is raised.",
        )),
        Some(UsageState::Ok) | None => None,
    };
    let spent = spent.map(|(tone, title, text)| {
        Notice::new(tone, title, text).leading_if(can_edit, edit(), "Edit the limit")
    });
    [rejected, ending, spent].into_iter().flatten().collect()
}

fn damaged() -> Notice {
    let text = "It failed authentication or cannot be read, so the key is not used. Restore a backup, or revoke it and add \
                the key again.";
    Notice::new("bad", "The record of this key is damaged", text)
}

/// The provider rejects the key in traffic.
fn rejected(visit: &Visit, key: &Credential, rejection: Rejection, now: Timestamp) -> Notice {
    let name = visit.provider_name(&key.provider);
    let cause = cause(rejection.cause);
    let provider = visit.state.catalogue.get(&key.provider);
    let next = provider.map_or_else(String::new, |provider| provider.next_step(cause));
    Notice::new(
        "bad",
        format!("{name} rejects requests with this key"),
        rejection_text(rejection, &next, now),
    )
}

/// All of it is Keyside's or the catalogue's words.
fn rejection_text(rejection: Rejection, next: &str, now: Timestamp) -> Text {
    let since = Time::new(Some(rejection.since), now);
    let requests = match rejection.count {
        1 => "One request was".to_owned(),
        count => format!("{count} requests were"),
    };
    Text::marked(&format!(
        "{requests} rejected, first {} ({}): {}. {next}",
        since.relative,
        since.exact,
        cause(rejection.cause).meaning()
    ))
}

/// The live check's cause that corresponds to one of traffic, for its next step.
fn cause(cause: RejectionCause) -> Cause {
    match cause {
        RejectionCause::WrongKey => Cause::WrongKey,
        RejectionCause::Revoked => Cause::AccountSuspended,
        RejectionCause::NoFunds => Cause::NoFunds,
        RejectionCause::Quota => Cause::QuotaExhausted,
    }
}

fn limits(key: &Credential) -> Vec<String> {
    let usage = key.usage;
    let line = |limit: Option<NonZeroU64>, used: Option<u64>, what: &str| {
        let limit = limit?;
        let (used, limit) = (count(used.unwrap_or(0)), count(limit.get()));
        Some(format!("{used} of {limit} {what} today"))
    };
    let requests = usage.and_then(|usage| usage.requests_today);
    let tokens = usage.and_then(|usage| usage.tokens_today);
    [
        line(key.limits.requests_per_day, requests, "requests"),
        line(key.limits.tokens_per_day, tokens, "tokens"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::marked::tests::shown;

    #[test]
    fn the_next_step_after_a_rejection_has_its_code_marked() {
        let now: Timestamp = "2026-03-02T00:00:00Z".parse().unwrap();
        let rejection = Rejection {
            since: now,
            count: 1,
            cause: RejectionCause::NoFunds,
        };
        let text = shown(&rejection_text(rejection, "Raise `limit`.", now));
        assert!(text.starts_with("One request was rejected"), "{text}");
        assert!(text.ends_with(". Raise [limit]."), "{text}");
    }
}
