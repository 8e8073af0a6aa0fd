//! Banners: what stops requests of a workspace, or is about to, with the way out.

use keyside_config::AdminPage;
use keyside_credentials::{
    Credential, Filter, Permission, Readiness, ReadinessStatus, Timestamp, UsageState, Workspace,
};

use super::{Visit, query};
use crate::pages::{time::Time, view::Notice};

/// The worst first; at most [`SHOWN`], and how many more there are.
pub(super) fn of(visit: &Visit, workspace: &Workspace) -> Vec<Notice> {
    if workspace.damaged {
        return vec![damaged()];
    }
    let registry = &visit.state.registry;
    let mut found = registry.readiness(&workspace.id, None);
    found.retain(|provider| provider.status != ReadinessStatus::Ready);
    found.sort_by_key(|provider| provider.status.is_usable());
    let mut notices: Vec<_> = found
        .iter()
        .filter_map(|provider| about(visit, workspace, provider))
        .collect();
    let more = notices.len().saturating_sub(SHOWN);
    notices.truncate(SHOWN);
    if more > 0 {
        let plural = if more == 1 { "" } else { "s" };
        let title = format!("{more} more provider{plural}");
        let text = "They want attention too: the table of keys shows which.";
        let keys = format!("{}/keys{}", visit.base(), of_workspace(workspace));
        notices.push(Notice::new("warn", title, text).leading_to(keys, "All keys"));
    }
    notices.extend(cap(visit, workspace));
    notices
}

fn about(visit: &Visit, workspace: &Workspace, found: &Readiness) -> Option<Notice> {
    let keys = visit.state.registry.list(&Filter {
        within: visit.caller.scope().clone(),
        workspace: Some(workspace.id.clone()),
        provider: Some(found.provider.clone()),
        ..Filter::default()
    });
    let now = visit.state.registry.now();
    let (environment, label) = found.decided_by.as_ref()?;
    let decides = |key: &&Credential| key.environment == *environment && key.label == *label;
    let key = keys.iter().rev().find(decides)?;
    let name = visit.state.catalogue.get(&found.provider);
    let name = name.map_or_else(|| found.provider.to_string(), |known| known.name.clone());
    let notice = match found.status {
        ReadinessStatus::Ready => return None,
        ReadinessStatus::Expiring => {
            let expires = Time::new(key.expires_at, now);
            Notice::new(
                "warn",
                format!("The {name} key “{label}” expires {}", expires.relative),
                "Rotate it before then: afterwards requests with it are refused.",
            )
        }
        ReadinessStatus::Rejected => Notice::new(
            "bad",
            format!("{name} rejects the key “{label}”"),
            format!(
                "Requests to {name} fail until it is replaced. Look at the key in the provider's console, then rotate it here."
            ),
        ),
        ReadinessStatus::Missing => Notice::new(
            "bad",
            format!("The {name} key “{label}” cannot be read"),
            format!("Requests to {name} are refused. The key's page says what is wrong with it."),
        ),
        // A provider that nobody has used or set up for a month may have been given up for good.
        ReadinessStatus::Revoked | ReadinessStatus::Expired if !is_in_use(&keys, now) => {
            return None;
        }
        ReadinessStatus::Revoked => {
            return Some(no_key(
                visit,
                workspace,
                found,
                format!("The {name} key “{label}” is revoked, and there is no other"),
            ));
        }
        ReadinessStatus::Expired => {
            return Some(no_key(
                visit,
                workspace,
                found,
                format!("The {name} key “{label}” has expired"),
            ));
        }
    };
    Some(notice.leading_to(format!("{}/keys/{}", visit.base(), key.id), "Open the key"))
}

/// Requests to the provider are refused until there is another key.
fn no_key(visit: &Visit, workspace: &Workspace, found: &Readiness, title: String) -> Notice {
    if visit.caller.require(Permission::ChangeCredentials).is_err() {
        let text = "Requests to the provider are refused. Ask an owner or an editor of the workspace to add a key.";
        return Notice::new("bad", title, text);
    }
    let text = "Requests to the provider are refused until a key is added.";
    let (id, provider) = (workspace.id.as_str(), found.provider.as_str());
    let page = AdminPage::NewKey.url(&visit.base(), Some(id), Some(provider));
    Notice::new("bad", title, text).leading_to(page, "Add a key")
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
    let page = format!("{}/workspace{}", visit.base(), of_workspace(workspace));
    Some(Notice::new(tone, title, text).leading_to(page, "Spend caps"))
}

fn of_workspace(workspace: &Workspace) -> String {
    query(&[("workspace", workspace.id.as_ref())])
}

fn damaged() -> Notice {
    let text = "Its record failed authentication, so none of its keys is used. Restore a backup, or put back the newest copy of \
                the data folder.";
    Notice::new("bad", "This workspace's record is damaged", text)
}

/// More would hide the page.
const SHOWN: usize = 3;

const IN_USE_DAYS: i64 = 30;
