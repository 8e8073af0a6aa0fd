//! Lists and finds workspaces and credentials: converts snapshot entries into views.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use keyside_config::CredentialRules;

use super::{Filter, Registry, checks::LastChecks};
use crate::{
    documents::{CredentialDocument, VersionDocument},
    model::{
        Credential, CredentialId, Listed, LostCredential, Scope, Status, UsageTag, Version,
        VersionState, Workspace, WorkspaceId,
    },
    runs::Runs,
    snapshot::{CredentialEntry, Lost, Snapshot, WorkspaceEntry, traffic},
    spend::Day,
};

impl Registry {
    /// The workspaces in `within`, ordered by id.
    pub fn workspaces(&self, within: &Scope) -> Vec<Workspace> {
        let snapshot = self.all().load();
        let mut workspaces: Vec<_> = snapshot
            .workspaces
            .values()
            .filter(|entry| within.holds(&entry.document.id))
            .map(|entry| workspace(entry, self.clock.now()))
            .collect();
        workspaces.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        workspaces
    }

    /// The workspace with this id, in any scope.
    pub fn workspace(&self, id: &WorkspaceId) -> Option<Workspace> {
        let snapshot = self.all().load();
        let entry = snapshot.workspaces.get(id)?;
        Some(workspace(entry, self.clock.now()))
    }

    /// The credentials that match `filter`, in [list order](Credential::list_order), without
    /// [lost](Listed::Lost) ones.
    pub fn list(&self, filter: &Filter) -> Vec<Credential> {
        let snapshot = self.all().load();
        let mut credentials = self.viewer().list(&snapshot, filter);
        in_order(&mut credentials);
        credentials
    }

    /// The credentials with a usage tag that are not revoked, in [list
    /// order](Credential::list_order). Copies only those, because it is called after each change.
    pub(crate) fn list_tagged(&self, usage_tag: &str) -> Vec<Credential> {
        let (snapshot, all) = (self.all().load(), Filter::default());
        let viewer = self.viewer();
        let entries = workspaces(&snapshot, &all).flat_map(|workspace| {
            let entries = workspace.credentials.values();
            entries.map(move |entry| (workspace, entry))
        });
        let tagged = entries.filter(|(_, entry)| {
            let document = &entry.document;
            let tag = document.usage_tag.as_ref().map(UsageTag::as_str);
            tag == Some(usage_tag) && document.revoked_at.is_none()
        });
        let tagged = tagged.map(|(workspace, entry)| viewer.credential(workspace, entry));
        let mut tagged: Vec<_> = tagged.collect();
        in_order(&mut tagged);
        tagged
    }

    /// The credentials that match `filter`, in [list order](Listed::list_order), including lost
    /// ones. A lost credential matches only if every field that the filter selects is known.
    pub fn list_all(&self, filter: &Filter) -> Vec<Listed> {
        let snapshot = self.all().load();
        self.viewer().list_all(&snapshot, filter)
    }

    /// The credential with this id, lost or not. Searches all workspaces; for many credentials, use
    /// [`Self::find_in`].
    pub fn find(&self, id: &CredentialId) -> Option<Listed> {
        let snapshot = self.all().load();
        let workspace = snapshot.workspace_of(id)?;
        self.viewer().find(workspace, id)
    }

    /// The credential with this id in this workspace, lost or not.
    pub fn find_in(&self, workspace: &WorkspaceId, id: &CredentialId) -> Option<Listed> {
        let snapshot = self.all().load();
        let workspace = snapshot.workspaces.get(workspace)?;
        self.viewer().find(workspace, id)
    }

    /// The credential with this id, unless it is lost.
    pub fn credential(&self, id: &CredentialId) -> Option<Credential> {
        let snapshot = self.all().load();
        let (workspace, entry) = snapshot.credential(id)?;
        Some(self.viewer().credential(workspace, entry))
    }

    pub(super) fn viewer(&self) -> Viewer<'_> {
        Viewer {
            runs: &self.runs,
            checks: &self.checks,
            rules: &self.rules,
            now: self.clock.now(),
        }
    }
}

/// What views depend on besides the snapshot.
pub(super) struct Viewer<'a> {
    runs: &'a Runs,
    checks: &'a LastChecks,
    rules: &'a CredentialRules,
    now: Timestamp,
}

impl Viewer<'_> {
    fn list(&self, snapshot: &Snapshot, filter: &Filter) -> Vec<Credential> {
        let entries = workspaces(snapshot, filter).flat_map(|workspace| {
            workspace
                .credentials
                .values()
                .map(move |entry| (workspace, entry))
        });
        entries
            .filter(|(_, entry)| self.passes(filter, &entry.document))
            .map(|(workspace, entry)| self.credential(workspace, entry))
            .collect()
    }

    /// In list order, including lost credentials.
    pub(super) fn list_all(&self, snapshot: &Snapshot, filter: &Filter) -> Vec<Listed> {
        let known = self.list(snapshot, filter).into_iter();
        let known = known.map(|credential| Listed::Known(Box::new(credential)));
        let lost = workspaces(snapshot, filter).flat_map(|workspace| {
            let lost = workspace.lost.values();
            lost.map(move |lost| self.lost(workspace, lost))
        });
        let lost = lost.filter(|lost| is_known_to_pass(filter, lost));
        let lost = lost.map(Listed::Lost);
        let mut all: Vec<_> = known.chain(lost).collect();
        all.sort_unstable_by(|one, other| one.list_order().cmp(&other.list_order()));
        all
    }

    fn find(&self, workspace: &WorkspaceEntry, id: &CredentialId) -> Option<Listed> {
        if let Some(entry) = workspace.credentials.get(id) {
            let credential = self.credential(workspace, entry);
            return Some(Listed::Known(Box::new(credential)));
        }
        let lost = workspace.lost.get(id)?;
        Some(Listed::Lost(self.lost(workspace, lost)))
    }

    fn lost(&self, workspace: &WorkspaceEntry, lost: &Lost) -> LostCredential {
        let mut defaults = workspace.document.defaults.values();
        LostCredential {
            is_default: defaults.any(|defaults| defaults.names(&lost.id)),
            last_used_at: self.runs.last_used(&lost.id),
            id: lost.id.clone(),
            workspace: workspace.document.id.clone(),
            is_revoked: lost.revoked_at.is_some(),
            revision: lost.revision,
        }
    }

    fn passes(&self, filter: &Filter, document: &CredentialDocument) -> bool {
        filter
            .provider
            .as_ref()
            .is_none_or(|provider| *provider == document.provider)
            && filter
                .environment
                .is_none_or(|environment| environment == document.environment)
            && filter
                .status
                .is_none_or(|status| status == self.status(document))
    }

    fn credential(&self, workspace: &WorkspaceEntry, entry: &CredentialEntry) -> Credential {
        let document = entry.document.clone();
        let metadata = entry.metadata();
        let last_check = self.checks.of(entry);
        Credential {
            status: self.status(&document),
            is_default: workspace.is_default(&document),
            last_used_at: self.runs.last_used(&document.id),
            damaged: entry.damage().is_some() || workspace.damage.is_some(),
            declared: entry.declared.as_deref().cloned(),
            rejection: traffic::rejection(entry),
            reference: document.reference.as_deref().cloned(),
            fingerprint: metadata.map(|it| it.fingerprint.clone()),
            hint: metadata.map(|it| it.hint.clone()),
            versions: self.versions(&document),
            id: document.id,
            workspace: document.workspace,
            provider: document.provider,
            label: document.label,
            environment: document.environment,
            usage_tag: document.usage_tag,
            expires_at: document.expires_at,
            endpoint: document.endpoint,
            usage: entry
                .signals
                .spend
                .usage(document.limits, Day::of(self.now)),
            limits: document.limits,
            created_by: document.created_by,
            created_at: document.created_at,
            last_rotated_at: document.last_rotated_at,
            last_verified_at: last_check.as_ref().and_then(|last| last.verified_at),
            verification: last_check.map(|last| last.finding.verification),
            revision: document.revision,
        }
    }

    fn versions(&self, document: &CredentialDocument) -> Vec<Version> {
        let view = |version: &VersionDocument| {
            let state = document.state(version, self.now);
            Version {
                number: version.number,
                state,
                created_at: version.created_at,
                grace_until: version.until.filter(|_| state == VersionState::Grace),
                // Its bytes may be removed a moment after its grace period has ended.
                destroyed_at: [version.until, version.destroyed_at]
                    .into_iter()
                    .flatten()
                    .min()
                    .filter(|_| state == VersionState::Destroyed),
            }
        };
        document.versions.iter().map(view).collect()
    }

    pub(super) fn status(&self, document: &CredentialDocument) -> Status {
        let threshold = SignedDuration::from_hours(24 * i64::from(self.rules.expiring_days));
        match document.expires_at {
            _ if document.revoked_at.is_some() => Status::Revoked,
            Some(end) if end <= self.now => Status::Expired,
            Some(end) if end.duration_since(self.now) <= threshold => Status::Expiring,
            _ => Status::Active,
        }
    }
}

pub(super) fn in_order(credentials: &mut [Credential]) {
    credentials.sort_unstable_by(|one, other| one.list_order().cmp(&other.list_order()));
}

fn workspaces<'a>(
    snapshot: &'a Snapshot,
    filter: &'a Filter,
) -> impl Iterator<Item = &'a Arc<WorkspaceEntry>> {
    let wanted = filter.workspace.as_ref();
    let one = wanted.and_then(|id| snapshot.workspaces.get(id));
    let all = wanted.is_none().then(|| snapshot.workspaces.values());
    one.into_iter()
        .chain(all.into_iter().flatten())
        .filter(move |workspace| filter.within.holds(&workspace.document.id))
}

fn is_known_to_pass(filter: &Filter, lost: &LostCredential) -> bool {
    let status = lost.is_revoked.then_some(Status::Revoked);
    filter.provider.is_none()
        && filter.environment.is_none()
        && (filter.status.is_none() || filter.status == status)
}

pub(super) fn workspace(entry: &WorkspaceEntry, now: Timestamp) -> Workspace {
    let document = entry.document.clone();
    Workspace {
        id: document.id,
        name: document.name,
        usage: entry.spend.usage(document.limits, Day::of(now)),
        limits: document.limits,
        created_by: document.created_by,
        created_at: document.created_at,
        incarnation: document.incarnation,
        revision: document.revision,
        damaged: entry.damage.is_some(),
    }
}
