//! Integration Keys: the keys of a workspace, and which of them need attention.

mod filters;
mod row;

use std::collections::BTreeSet;

use askama::Template;
use axum::response::Response;
use keyside_credentials::{
    Credential, Environment, Listed, Permission, Status, Timestamp, Workspace,
};

pub(super) use self::row::is_rejected;
use self::{
    filters::{Filters, Posture},
    row::Row,
};
use super::{
    html::page,
    pager::Pager,
    shell::{Shell, Visit},
    view::{Badge, Choice, environments},
};
use crate::{concurrency::WorkKind, problem::Problem, query::Parameters};

#[derive(Template)]
#[template(path = "keys.html")]
struct Keys {
    shell: Shell,
    can_edit: bool,
    /// Whether the workspace has keys at all, including revoked ones.
    any: bool,
    posture: Vec<Card>,
    filter: FilterForm,
    keys: Vec<Row>,
    pager: Pager,
}

/// A number of keys that need attention, as a link that filters the table for them or lifts that.
struct Card {
    href: String,
    tone: &'static str,
    icon: &'static str,
    count: usize,
    what: &'static str,
    current: bool,
}

struct FilterForm {
    q: String,
    providers: Vec<Choice>,
    statuses: Vec<Choice>,
    environments: Vec<Choice>,
    tags: Vec<Choice>,
    active: bool,
    clear_href: String,
}

pub(super) async fn show(visit: Visit, mut parameters: Parameters) -> Result<Response, Problem> {
    let asked = parameters.text("workspace");
    let filters = Filters::read(&mut parameters);
    let number = Pager::read(&mut parameters);
    parameters.finish()?;
    let Some(workspace) = visit.workspace(asked.as_deref())? else {
        return Ok(visit.see_other("/workspaces"));
    };
    let _permit = visit.state.acquire(WorkKind::List, &visit.caller).await?;
    let all = visit.all_keys(&workspace);
    page(&view(&visit, &workspace, &all, &filters, number))
}

fn view(
    visit: &Visit,
    workspace: &Workspace,
    all: &[Listed],
    filters: &Filters,
    number: usize,
) -> Keys {
    let now = visit.state.registry.now();
    let address = |filters: &Filters, page: &str| {
        format!("{}/keys{}", visit.base(), filters.query(workspace, page))
    };
    let first_page = |filters: &Filters| address(filters, "");
    let shown: Vec<_> = all
        .iter()
        .filter(|listed| filters.includes(visit, listed, now))
        .collect();
    let mut pager = Pager::new(number, shown.len(), "key", |page| address(filters, page));
    // Counts elsewhere are of keys in use.
    let revoked = shown.iter().filter(|listed| is_revoked(listed)).count();
    if revoked > 0 {
        pager.summary += &format!(", {revoked} revoked");
    }
    let known: Vec<_> = all.iter().filter_map(known).collect();
    let rows = pager.rows(&shown).iter();
    let rows = rows.map(|listed| Row::of(visit, listed, now)).collect();
    Keys {
        shell: visit.shell("/keys", Some(workspace)),
        can_edit: visit.may(Permission::ChangeCredentials),
        any: !all.is_empty(),
        posture: cards(&known, filters, now, first_page),
        filter: filter_form(visit, &known, filters, first_page(&Filters::default())),
        keys: rows,
        pager,
    }
}

fn cards(
    keys: &[&Credential],
    filters: &Filters,
    now: Timestamp,
    address: impl Fn(&Filters) -> String,
) -> Vec<Card> {
    let card = |(posture, tone, icon, what): (Posture, _, _, _)| {
        let current = filters.posture == Some(posture);
        Card {
            href: address(&Filters::to((!current).then_some(posture))),
            tone,
            icon,
            count: keys.iter().filter(|key| posture.applies(key, now)).count(),
            what,
            current,
        }
    };
    let cards = CARDS.into_iter().map(card);
    cards
        .filter(|card| card.count > 0 || card.current)
        .collect()
}

fn filter_form(
    visit: &Visit,
    keys: &[&Credential],
    filters: &Filters,
    clear_href: String,
) -> FilterForm {
    let providers: BTreeSet<_> = keys.iter().map(|key| &key.provider).collect();
    let providers = providers
        .into_iter()
        .map(|id| (id.to_string(), visit.provider_name(id)));
    let tags: BTreeSet<_> = keys
        .iter()
        .filter_map(|key| key.usage_tag.as_ref())
        .collect();
    let tags = tags
        .into_iter()
        .map(|tag| (tag.to_string(), tag.to_string()));
    let statuses = Status::ALL.map(|it| (it.to_string(), Badge::status(it).word));
    FilterForm {
        q: filters.q.clone().unwrap_or_default(),
        providers: Choice::list(providers, filters.provider.as_deref()),
        statuses: Choice::list(statuses, filters.status.map(Status::as_str)),
        environments: Choice::list(environments(), filters.environment.map(Environment::as_str)),
        tags: Choice::list(tags, filters.tag.as_deref()),
        active: filters.is_active(),
        clear_href,
    }
}

pub(super) fn is_revoked(listed: &Listed) -> bool {
    match listed {
        Listed::Known(key) => key.status == Status::Revoked,
        Listed::Lost(lost) => lost.is_revoked,
    }
}

/// The key, if its record can be read.
pub(super) fn known(listed: &Listed) -> Option<&Credential> {
    match listed {
        Listed::Known(key) => Some(key),
        Listed::Lost(_) => None,
    }
}

/// The cards, with tone, icon and words.
const CARDS: [(Posture, &str, &str, &str); 4] = [
    (Posture::Expiring, "warn", "clock", "expiring soon"),
    (Posture::Rejected, "bad", "bad", "rejected by the provider"),
    (Posture::Unused, "plain", "info", "never used"),
    (Posture::Idle, "plain", "clock", "idle for 90 days"),
];
