//! Banners: what stops requests of a workspace, or is about to, with the way out.

use std::slice;

use jiff::SignedDuration;
use keyside_config::{AdminPage, ProviderId};
use keyside_credentials::{
    Credential, CredentialId, Environment, Filter, Listed, Permission, Readiness, ReadinessStatus,
    Timestamp, UsageState, Workspace,
};

use super::Visit;
use crate::pages::{time::Time, view::Notice};

/// First about keys, the worst first, then about providers without any; at most [`SHOWN`], and how
/// many more there are.
pub(super) fn of(visit: &Visit, workspace: &Workspace) -> Vec<Notice> {
    if workspace.damaged {
        return vec![damaged()];
    }
    let registry = &visit.state.registry;
    let mut found = registry.readiness(&workspace.id, None);
    found.sort_by_key(|provider| provider.status.is_usable());
    // Last: every client of the proxy can ask for any provider in vain, which must not push out a
    // warning about a key.
    found.extend(without_any_key(visit, workspace, &found));
    found.retain(|it| it.status != ReadinessStatus::Ready || it.unusable_default.is_some());
    let now = registry.now();
    let wanted = found.iter().filter_map(|provider| {
        let keys = of_same_provider(visit, workspace, provider);
        let is_wanted = !is_given_up(provider, &keys, now);
        is_wanted.then(|| about(visit, workspace, provider, &keys))?
    });
    let mut notices: Vec<_> = wanted.collect();
    let more = notices.len().saturating_sub(SHOWN);
    notices.truncate(SHOWN);
    if more > 0 {
        let (plural, need) = if more == 1 {
            ("", "It needs")
        } else {
            ("s", "They need")
        };
        let title = format!("{more} more provider{plural}");
        let text = format!("{need} attention too: the table of keys shows which.");
        let keys = visit.address("/keys", &workspace.id);
        notices.push(Notice::new("warn", title, text).leading_to(keys, "All keys"));
    }
    notices.extend(cap(visit, workspace));
    notices
}

/// The providers that requests of the last day asked for in vain, because the workspace never had a
/// key for them.
fn without_any_key(visit: &Visit, workspace: &Workspace, known: &[Readiness]) -> Vec<Readiness> {
    let registry = &visit.state.registry;
    let yesterday = registry.now().checked_sub(SignedDuration::from_hours(24));
    // The requests of an erased workspace with the same id were not its own.
    let since = yesterday.map_or(workspace.created_at, |it| it.max(workspace.created_at));
    let missing = registry.runs().missing(&workspace.id, since).into_iter();
    let missing = missing.filter(|provider| known.iter().all(|it| it.provider != *provider));
    let readiness = |provider| Readiness {
        provider,
        status: ReadinessStatus::Missing,
        decided_by: None,
        unusable_default: None,
    };
    missing.map(readiness).collect()
}

impl Visit {
    /// What stops requests to a provider, or is about to, even if nobody has used it lately.
    pub(in crate::pages) fn obstacle(
        &self,
        workspace: &Workspace,
        provider: &ProviderId,
    ) -> Option<Notice> {
        let wanted = [provider.clone()];
        let mut found = self.state.registry.readiness(&workspace.id, Some(&wanted));
        let found = found.pop()?;
        let keys = of_same_provider(self, workspace, &found);
        about(self, workspace, &found, &keys)
    }
}

/// `keys` are the provider's keys in the workspace.
fn about(
    visit: &Visit,
    workspace: &Workspace,
    found: &Readiness,
    keys: &[Credential],
) -> Option<Notice> {
    let default = found.unusable_default.as_ref();
    if let Some(notice) = default.and_then(|it| about_default(visit, workspace, found, it)) {
        return Some(notice);
    }
    let now = visit.state.registry.now();
    let name = visit.provider_name(&found.provider);
    let Some((environment, label)) = &found.decided_by else {
        let title = format!("There is no key for {name}");
        return Some(no_key(visit, workspace, found, title));
    };
    let decides = |key: &&Credential| key.environment == *environment && key.label == *label;
    let key = keys.iter().rev().find(decides)?;
    let kind = match environment {
        Environment::Live => "key",
        Environment::Sandbox => "sandbox key",
    };
    let notice = match found.status {
        ReadinessStatus::Ready => return None,
        ReadinessStatus::Expiring => {
            let expires = Time::new(key.expires_at, now);
            Notice::new(
                "warn",
                format!("The {name} {kind} “{label}” expires {}", expires.relative),
                "Requests with it are refused from then on, unless it gets a later expiry.",
            )
        }
        ReadinessStatus::Rejected => Notice::new(
            "bad",
            format!("{name} rejects the {kind} “{label}”"),
            format!(
                "Requests to {name} fail until its secret is replaced. The key's page says why."
            ),
        ),
        ReadinessStatus::Missing => Notice::new(
            "bad",
            format!("The {name} {kind} “{label}” cannot be read"),
            format!("Requests to {name} are refused. The key's page says what is wrong with it."),
        ),
        ReadinessStatus::Revoked => {
            let title = format!("The {name} {kind} “{label}” is revoked, and there is no other");
            return Some(no_key(visit, workspace, found, title));
        }
        ReadinessStatus::Expired => {
            let title = format!("The {name} {kind} “{label}” has expired");
            return Some(no_key(visit, workspace, found, title));
        }
    };
    Some(notice.leading_to(visit.key_href(&key.id), "Open the key"))
}

/// Requests that name no label fail, although another key is usable. Not said of a default that
/// nobody has used for a month: requests name labels then.
fn about_default(
    visit: &Visit,
    workspace: &Workspace,
    found: &Readiness,
    (id, status): &(CredentialId, ReadinessStatus),
) -> Option<Notice> {
    let registry = &visit.state.registry;
    let label = match registry.find_in(&workspace.id, id)? {
        Listed::Known(key) if !is_in_use(slice::from_ref(&*key), registry.now()) => return None,
        Listed::Known(key) => key.label.to_string(),
        Listed::Lost(lost) => lost.id.to_string(),
    };
    let what = match status {
        ReadinessStatus::Revoked => "is revoked",
        ReadinessStatus::Expired => "has expired",
        ReadinessStatus::Rejected => "is rejected by the provider",
        ReadinessStatus::Missing => "cannot be read",
        ReadinessStatus::Ready | ReadinessStatus::Expiring => return None,
    };
    let name = visit.provider_name(&found.provider);
    let title = format!("The default {name} key “{label}” {what}");
    let text =
        "Requests that name no label fail. Make another key the default, or replace this one.";
    let (workspace, provider) = (Some(workspace.id.as_str()), Some(found.provider.as_str()));
    let keys = AdminPage::Keys.url(&visit.base(), workspace, provider);
    Some(Notice::new("bad", title, text).leading_to(keys, "See the keys"))
}

/// Requests to the provider are refused until there is another key.
fn no_key(visit: &Visit, workspace: &Workspace, found: &Readiness, title: String) -> Notice {
    if !visit.may(Permission::ChangeCredentials) {
        let text = "Requests to the provider are refused. Ask an owner or an editor of the workspace to add a key.";
        return Notice::new("bad", title, text);
    }
    let text = "Requests to the provider are refused until a key is added.";
    let (id, provider) = (workspace.id.as_str(), found.provider.as_str());
    let page = AdminPage::NewKey.url(&visit.base(), Some(id), Some(provider));
    Notice::new("bad", title, text).leading_to(page, "Add a key")
}

/// Whether a provider has no usable key and nobody has used it or set it up for a month.
fn is_given_up(found: &Readiness, keys: &[Credential], now: Timestamp) -> bool {
    let has_ended = matches!(
        found.status,
        ReadinessStatus::Revoked | ReadinessStatus::Expired
    );
    has_ended && !is_in_use(keys, now)
}

fn of_same_provider(visit: &Visit, workspace: &Workspace, found: &Readiness) -> Vec<Credential> {
    visit.state.registry.list(&Filter {
        provider: Some(found.provider.clone()),
        ..visit.filter(workspace)
    })
}

/// Whether one of the keys was used, added or rotated lately.
fn is_in_use(keys: &[Credential], now: Timestamp) -> bool {
    let is_recent = |last: Timestamp| now.duration_since(last).as_hours() < 24 * IN_USE_DAYS;
    let last = |key: &Credential| {
        let times = [key.last_used_at, key.last_rotated_at];
        times.into_iter().flatten().fold(key.created_at, Ord::max)
    };
    keys.iter().any(|key| is_recent(last(key)))
}

fn cap(visit: &Visit, workspace: &Workspace) -> Option<Notice> {
    let (tone, title, text) = match workspace.usage?.state {
        UsageState::Ok => return None,
        UsageState::Warning => (
            "warn",
            "80 % of a spend cap is used",
            "At the cap, requests of this workspace are refused until 00:00 UTC.",
        ),
        UsageState::Exhausted => (
            "bad",
            "A spend cap is reached",
            "Requests of this workspace are refused until 00:00 UTC, unless an owner raises the cap.",
        ),
    };
    let page = visit.address("/workspace", &workspace.id);
    Some(Notice::new(tone, title, text).leading_to(page, "Spend caps"))
}

fn damaged() -> Notice {
    let text = "Its record failed authentication, so none of its keys is used. Restore a backup, or put back the newest copy of \
                the data folder.";
    Notice::new("bad", "This workspace's record is damaged", text)
}

/// More would hide the page.
const SHOWN: usize = 3;

const IN_USE_DAYS: i64 = 30;
