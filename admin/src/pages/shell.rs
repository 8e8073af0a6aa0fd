//! What every page of a session shares: the workspace that it is about, and the frame around it.

mod banners;

use axum::{extract::FromRequestParts, response::Response};
use http::request::Parts;
use keyside_credentials::{
    ActorId, Credential, CredentialId, Filter, Listed, Permission, Role, Workspace, WorkspaceId,
    audit::{AuditFilter, AuditRecord},
    runs::RunFilter,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    form::Fields,
    html::see_other,
    time::{Time, in_words},
    view::{Choice, Notice, text_of, unnamed},
};
use crate::{
    access::Caller,
    assets,
    problem::{Problem, sentence},
    rate_limits::ClientNetwork,
    sessions::{Flash, Session},
    site::Site,
    state::AdminState,
};

/// A request for a page of a session: who asks, and what answers.
pub(super) struct Visit {
    pub(super) state: AdminState,
    pub(super) caller: Caller,
    pub(super) session: Session,
    pub(super) peer: ClientNetwork,
}

/// The context of `admin/templates/layout.html`.
pub(super) struct Shell {
    pub(super) base: String,
    pub(super) assets: String,
    pub(super) csrf: String,
    /// The time of the page, by which its script corrects the browser's clock.
    pub(super) now: String,
    pub(super) workspace: ShownWorkspace,
    pub(super) workspaces: Vec<Choice>,
    pub(super) switch_to: String,
    pub(super) nav: Vec<NavItem>,
    pub(super) person: Person,
    pub(super) banners: Vec<Notice>,
    pub(super) flash: Vec<Notice>,
}

pub(super) struct ShownWorkspace {
    pub(super) id: String,
    pub(super) name: String,
}

pub(super) struct NavItem {
    pub(super) href: String,
    pub(super) icon: &'static str,
    pub(super) label: &'static str,
    pub(super) current: bool,
}

pub(super) struct Person {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) until: String,
}

impl Visit {
    /// The path that links within the session begin with.
    pub(super) fn base(&self) -> String {
        format!("{}/s/{}", self.state.site.base(), self.session.id)
    }

    /// The address of a page that is about a workspace.
    pub(super) fn address(&self, path: &str, workspace: &WorkspaceId) -> String {
        let query = query(&[("workspace", workspace.as_str())]);
        format!("{}{path}{query}", self.base())
    }

    /// The address of the page of a key.
    pub(super) fn key_href(&self, id: &CredentialId) -> String {
        format!("{}/keys/{id}", self.base())
    }

    /// The address of the page Preview with a key chosen.
    pub(super) fn preview_href(&self, key: &Credential) -> String {
        let query = query(&[
            ("workspace", key.workspace.as_str()),
            ("provider", key.provider.as_str()),
            ("label", key.label.as_str()),
        ]);
        format!("{}/preview{query}", self.base())
    }

    /// Leads to another page of the session.
    pub(super) fn see_other(&self, path: &str) -> Response {
        see_other(&format!("{}{path}", self.base()))
    }

    /// Whether the person has a permission.
    pub(super) fn may(&self, permission: Permission) -> bool {
        self.caller.require(permission).is_ok()
    }

    /// The workspace that a page is about: the one that its address asks for, else the one that was
    /// shown last, else the first. `None` if there is none.
    ///
    /// # Errors
    /// 404 if the one asked for does not exist for the caller.
    pub(super) fn workspace(&self, asked: Option<&str>) -> Result<Option<Workspace>, Problem> {
        let registry = &self.state.registry;
        if let Some(asked) = asked {
            let workspace = self.caller.workspace(registry, asked)?;
            self.state.sessions.select(&self.session.id, &workspace.id);
            return Ok(Some(workspace));
        }
        let scope = self.caller.scope();
        let last = self.session.workspace.as_ref();
        let last = last.filter(|id| scope.holds(*id));
        let last = last.and_then(|id| registry.workspace(id));
        Ok(last.or_else(|| registry.workspaces(scope).into_iter().next()))
    }

    /// The keys of a workspace whose records can be read, revoked ones included.
    pub(super) fn keys(&self, workspace: &Workspace) -> Vec<Credential> {
        self.state.registry.list(&self.filter(workspace))
    }

    /// All keys of a workspace.
    pub(super) fn all_keys(&self, workspace: &Workspace) -> Vec<Listed> {
        self.state.registry.list_all(&self.filter(workspace))
    }

    /// The workspace that a form names.
    pub(super) fn workspace_of(&self, fields: &Fields) -> Result<Workspace, Problem> {
        let id = fields.text("workspaceId");
        self.caller.workspace(&self.state.registry, id)
    }

    /// The runs of a workspace.
    pub(super) fn runs_of(&self, workspace: &WorkspaceId) -> RunFilter {
        RunFilter {
            within: self.caller.scope().clone(),
            workspace: Some(workspace.clone()),
            ..RunFilter::default()
        }
    }

    /// The audit records of a workspace.
    pub(super) fn records_of(&self, workspace: &WorkspaceId) -> AuditFilter {
        AuditFilter {
            within: self.caller.scope().clone(),
            workspace: Some(workspace.clone()),
            ..AuditFilter::default()
        }
    }

    /// The newest audit records that match.
    pub(super) async fn newest(
        &self,
        limit: usize,
        filter: &AuditFilter,
    ) -> Result<Vec<AuditRecord>, Problem> {
        let audit = self.state.registry.audit();
        let found = audit.search(filter, None, limit).await;
        Ok(found.map_err(Problem::unreadable)?.records)
    }

    fn filter(&self, workspace: &Workspace) -> Filter {
        Filter {
            within: self.caller.scope().clone(),
            workspace: Some(workspace.id.clone()),
            ..Filter::default()
        }
    }

    /// The display name of a provider, or its id if the catalogue does not have it any more.
    pub(super) fn provider_name(&self, id: &str) -> String {
        let provider = self.state.provider(id);
        provider.map_or_else(|| id.to_owned(), |provider| provider.name.clone())
    }

    /// The frame of the page at `path`, which is one of [`NAV`] or below it.
    pub(super) fn shell(&self, path: &str, workspace: Option<&Workspace>) -> Shell {
        let base = self.base();
        let all = self.state.registry.workspaces(self.caller.scope());
        let id = workspace.map(|workspace| &workspace.id);
        let choice =
            |it: &Workspace| Choice::new(it.id.as_str(), it.name.as_str(), Some(&it.id) == id);
        let shown = ShownWorkspace {
            id: text_of(id),
            name: workspace.map_or_else(|| "no workspace".to_owned(), |it| it.name.clone()),
        };
        let query = id.map_or_else(String::new, |id| query(&[("workspace", id.as_ref())]));
        let nav = NAV.map(|(page, icon, label)| NavItem {
            href: format!("{base}{page}{query}"),
            icon,
            label,
            current: page == path,
        });
        // The list of workspaces is about all of them.
        let switched = if path == "/workspaces" { "/keys" } else { path };
        let flash = self.state.sessions.take_flash(&self.session.id);
        let now = self.state.registry.now();
        Shell {
            assets: assets_path(&self.state.site),
            csrf: self.session.csrf_token(),
            now: Time::new(Some(now), now).iso,
            workspace: shown,
            workspaces: Choice::first(all.iter().map(choice).collect()),
            switch_to: format!("{base}{switched}"),
            nav: nav.into(),
            person: self.person(),
            banners: workspace.map_or_else(Vec::new, |shown| banners::of(self, shown)),
            flash: flash.map(done).unwrap_or_default(),
            base,
        }
    }

    /// Has the next page say what a form did.
    pub(super) fn flash(&self, title: &'static str, text: impl Into<String>) {
        self.flash_with(title, text, Vec::new());
    }

    /// Has the next page, which shows itself what a form did, say the problems that did not stop it.
    pub(super) fn flash_warnings(&self, warnings: Vec<String>) {
        self.flash_with("", "", warnings);
    }

    /// Has the next page say what a form did, and problems that did not stop it.
    pub(super) fn flash_with(
        &self,
        title: &'static str,
        text: impl Into<String>,
        warnings: Vec<String>,
    ) {
        let flash = Flash {
            title,
            text: text.into(),
            warnings,
        };
        self.state.sessions.set_flash(&self.session.id, flash);
    }

    /// The name of an actor: of its token, for those who may read it; empty for others.
    pub(super) fn name_of(&self, actor: &ActorId) -> String {
        let mut unnamed = unnamed().into_iter();
        if let Some((_, name)) = unnamed.find(|(it, _)| it == actor) {
            return name.to_owned();
        }
        let token = self.state.registry.access().find(actor);
        let may_read = self.may(Permission::ReadTokens);
        let token = token.filter(|it| may_read && self.caller.scope().covers(&it.scope));
        token.map_or_else(String::new, |token| token.name)
    }

    /// What to call an actor in a sentence: its name, or its id for those who may not read the name.
    pub(super) fn name_or_id_of(&self, actor: &ActorId) -> String {
        match self.name_of(actor) {
            name if name.is_empty() => actor.to_string(),
            name => name,
        }
    }

    /// What to call an actor to this person.
    pub(super) fn you_or_name_of(&self, actor: &ActorId) -> String {
        match *actor == self.session.actor {
            true => "you".to_owned(),
            false => self.name_of(actor),
        }
    }

    fn person(&self) -> Person {
        let token = self.state.registry.access().find(&self.session.actor);
        let name = token.map_or_else(|| self.session.actor.to_string(), |token| token.name);
        let left = in_words(self.session.left.as_secs());
        Person {
            id: self.session.actor.to_string(),
            name,
            role: role(self.caller.principal().role),
            until: match left {
                Some(left) => format!("Session ends in {left}"),
                None => "Session ends in a moment".to_owned(),
            },
        }
    }
}

impl FromRequestParts<AdminState> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, Problem> {
        Ok(Self {
            state: state.clone(),
            caller: Caller::from_request_parts(parts, state).await?,
            session: Session::from_request_parts(parts, state).await?,
            peer: ClientNetwork::of(&parts.extensions),
        })
    }
}

/// The folder of stylesheet and scripts.
pub(super) fn assets_path(site: &Site) -> String {
    format!("{}/assets/{}", site.base(), assets::version())
}

/// `?name=value&…` of the fields that are not empty.
pub(super) fn query(fields: &[(&str, &str)]) -> String {
    let given = fields.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<_> = given
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, RESERVED)))
        .collect();
    match pairs.is_empty() {
        true => String::new(),
        false => format!("?{}", pairs.join("&")),
    }
}

pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Owner => "Owner",
        Role::Editor => "Editor",
        Role::Viewer => "Viewer",
    }
}

fn done(flash: Flash) -> Vec<Notice> {
    let warning = |text: String| Notice::new("warn", "Please note", sentence(&text));
    let warnings = flash.warnings.into_iter().map(warning);
    let said = Notice::new("good", flash.title, flash.text);
    let said = Some(said).filter(|said| !said.title.is_empty());
    said.into_iter().chain(warnings).collect()
}

/// The pages of the navigation: stable link, symbol of `icons.html`, label.
const NAV: [(&str, &str, &str); 7] = [
    ("/keys", "key", "Integration Keys"),
    ("/preview", "play", "Preview"),
    ("/runs", "runs", "Runs"),
    ("/checks", "checks", "Checks"),
    ("/audit", "audit", "Audit"),
    ("/clients", "clients", "Clients"),
    ("/workspace", "workspace", "Workspace"),
];

/// The characters of a query's value that stand for themselves (RFC 3986 section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_the_given_fields_encoded() {
        let fields = [("workspace", "acme"), ("q", ""), ("tag", "a&b =\"\u{e9}")];
        assert_eq!(query(&fields), "?workspace=acme&tag=a%26b%20%3D%22%C3%A9");
        assert_eq!(query(&[("q", "")]), "");
    }
}
