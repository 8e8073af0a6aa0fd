//! Readiness: whether a workspace has a usable credential for each provider, in one word that an
//! application can show before a person runs into a refusal.

use std::collections::BTreeMap;

use keyside_config::{ProviderId, Verification};
use serde::{Deserialize, Serialize};

use super::Registry;
use crate::{
    model::{CredentialId, Environment, Label, Status, WorkspaceId},
    snapshot::{CredentialEntry, Unusable, WorkspaceEntry, traffic},
};

/// Whether a workspace can use a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The provider.
    pub provider: ProviderId,
    /// The state.
    pub status: ReadinessStatus,
    /// The credential that decides; `None` if there is none.
    pub decided_by: Option<(Environment, Label)>,
    /// The credential that requests without label and environment choose, and what is wrong with it:
    /// these requests fail, although the provider is usable. `None` otherwise.
    pub unusable_default: Option<(CredentialId, ReadinessStatus)>,
}

/// What can be said of a workspace and a provider. The usable ones first, then from the news that a
/// person must hear first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadinessStatus {
    /// A credential is usable.
    Ready,
    /// Usable, and within the threshold before its expiry.
    Expiring,
    /// The provider refused the credential at the last live check, or refuses it in traffic.
    Rejected,
    /// Revoked.
    Revoked,
    /// Its expiry has passed.
    Expired,
    /// There is no credential, or its secret cannot be read.
    Missing,
}

impl ReadinessStatus {
    /// Whether requests can use the provider, apart from limits: they pass within a day.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Ready | Self::Expiring)
    }
}

impl Registry {
    /// The readiness of each of `providers`, in that order, or of all providers for which the
    /// workspace has a credential. Every provider is missing from an unknown workspace. One pass
    /// over the workspace's credentials, in memory.
    pub fn readiness(
        &self,
        workspace: &WorkspaceId,
        providers: Option<&[ProviderId]>,
    ) -> Vec<Readiness> {
        let snapshot = self.all().load();
        let viewer = self.viewer();
        let news = |workspace: &WorkspaceEntry, entry: &CredentialEntry| {
            let is_rejected = self.last_verdict(entry) == Some(Verification::Rejected)
                || traffic::rejection(entry).is_some();
            let status = viewer.status(&entry.document);
            usable_news(status, is_rejected, workspace, entry)
        };
        let mut best = BTreeMap::<&ProviderId, Candidate<'_>>::new();
        let workspace = snapshot.workspaces.get(workspace);
        if let Some(workspace) = workspace {
            for entry in workspace.credentials.values() {
                let candidate = Candidate::of(news(workspace, entry), workspace, entry);
                let known = best.entry(&entry.document.provider).or_insert(candidate);
                *known = candidate.min(*known);
            }
        }
        let default = |provider: &ProviderId| {
            let workspace = workspace?;
            let defaults = workspace.document.defaults.get(provider)?;
            let id = defaults.live.as_ref().or(defaults.sandbox.as_ref())?;
            let entry = workspace.credentials.get(id);
            let status = entry.map_or(ReadinessStatus::Missing, |it| news(workspace, it));
            Some((id.clone(), status))
        };
        let view = |provider: &ProviderId| {
            let candidate = best.get(provider);
            let usable = candidate.filter(|found| !found.is_unusable);
            let default = usable.and_then(|_| default(provider));
            Readiness {
                provider: provider.clone(),
                status: candidate.map_or(ReadinessStatus::Missing, |found| found.status),
                decided_by: candidate.map(|found| (found.environment, found.label.clone())),
                unusable_default: default.filter(|(_, status)| !status.is_usable()),
            }
        };
        match providers {
            Some(providers) => providers.iter().map(view).collect(),
            None => best.keys().copied().map(view).collect(),
        }
    }
}

/// A credential that may decide. The smallest decides, by its first field that differs: a usable
/// one before the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate<'a> {
    is_unusable: bool,
    /// Set for usable ones: requests that name no environment choose a live one before a sandbox
    /// one, whatever their states.
    usable_in: Option<Environment>,
    status: ReadinessStatus,
    environment: Environment,
    /// The default is before the others.
    is_not_default: bool,
    label: &'a Label,
}

impl<'a> Candidate<'a> {
    fn of(status: ReadinessStatus, workspace: &WorkspaceEntry, entry: &'a CredentialEntry) -> Self {
        let document = &entry.document;
        Self {
            is_unusable: !status.is_usable(),
            usable_in: status.is_usable().then_some(document.environment),
            status,
            environment: document.environment,
            is_not_default: !workspace.is_default(document),
            label: &document.label,
        }
    }
}

/// The news about one credential. It is rejected if its provider said so to the last live check, or
/// says so to traffic.
fn usable_news(
    status: Status,
    is_rejected: bool,
    workspace: &WorkspaceEntry,
    entry: &CredentialEntry,
) -> ReadinessStatus {
    let is_damaged = workspace.damage.is_some() || entry.damage().is_some();
    match status {
        _ if is_damaged => ReadinessStatus::Missing,
        Status::Revoked => ReadinessStatus::Revoked,
        Status::Expired => ReadinessStatus::Expired,
        _ if matches!(entry.usable, Err(Unusable::Gone | Unusable::Unavailable)) => {
            ReadinessStatus::Missing
        }
        _ if is_rejected => ReadinessStatus::Rejected,
        Status::Expiring => ReadinessStatus::Expiring,
        Status::Active => ReadinessStatus::Ready,
    }
}
