//! Which keys a run checks.

use std::collections::BTreeSet;

use keyside_config::ProviderId;
use serde::{Deserialize, Serialize};

use super::Smoke;
use crate::model::{Credential, Scope, WorkspaceId};

/// Narrows a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Only these workspaces; empty for all.
    pub workspaces: Vec<WorkspaceId>,
    /// Only these providers; empty for all.
    pub providers: Vec<ProviderId>,
}

impl Selection {
    /// Whether it selects a provider of a workspace.
    pub fn has(&self, workspace: &WorkspaceId, provider: &ProviderId) -> bool {
        let any = self.providers.is_empty() || self.providers.contains(provider);
        any && self.has_workspace(workspace)
    }

    pub(super) fn has_workspace(&self, workspace: &WorkspaceId) -> bool {
        self.workspaces.is_empty() || self.workspaces.contains(workspace)
    }

    /// Whether it may select a workspace of `scope`.
    pub(super) fn touches(&self, scope: &Scope) -> bool {
        self.workspaces.is_empty() || self.workspaces.iter().any(|id| scope.holds(id))
    }

    /// Whether both may select the same provider of the same workspace.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        share(&self.workspaces, &other.workspaces) && share(&self.providers, &other.providers)
    }
}

/// Whether two lists, of which an empty one means all, share an id.
fn share<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    let is_all = one.is_empty() || other.is_empty();
    is_all || one.iter().any(|id| other.contains(id))
}

/// What is checked: a key, or that there is one.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) workspace: WorkspaceId,
    pub(super) provider: ProviderId,
    /// `None` if a key is expected and missing.
    pub(super) credential: Option<Box<Credential>>,
}

impl Smoke {
    /// The tagged keys in list order, then the missing ones.
    pub(super) fn plan(&self, selection: &Selection) -> Vec<Subject> {
        let tagged: Vec<_> = self
            .registry
            .list_tagged(&self.settings.usage_tag)
            .into_iter()
            .filter(|credential| self.is_allowed(credential))
            .filter(|credential| selection.has(&credential.workspace, &credential.provider))
            .collect();
        let present: BTreeSet<_> = tagged
            .iter()
            .map(|credential| (credential.workspace.clone(), credential.provider.clone()))
            .collect();
        let missing = self.expected().into_iter().filter(|pair| {
            let (workspace, provider) = pair;
            selection.has(workspace, provider) && !present.contains(pair)
        });
        let missing = missing.map(|(workspace, provider)| Subject {
            workspace,
            provider,
            credential: None,
        });
        let tagged = tagged.into_iter().map(|credential| Subject {
            workspace: credential.workspace.clone(),
            provider: credential.provider.clone(),
            credential: Some(Box::new(credential)),
        });
        tagged.chain(missing).collect()
    }

    fn is_allowed(&self, credential: &Credential) -> bool {
        let pin = self.settings.environment;
        let is_included = self.settings.includes(credential.workspace.as_str());
        is_included && credential.environment.is_allowed_by(pin)
    }

    fn expected(&self) -> Vec<(WorkspaceId, ProviderId)> {
        if self.settings.expected.is_empty() {
            return Vec::new();
        }
        let pair = |workspace: WorkspaceId| {
            let providers = self.settings.expected.iter();
            providers.map(move |provider| (workspace.clone(), provider.clone()))
        };
        self.workspaces().into_iter().flat_map(pair).collect()
    }

    /// The workspaces of the settings, whether or not they exist, or else all.
    pub(super) fn workspaces(&self) -> Vec<WorkspaceId> {
        let named = self.settings.workspaces.iter();
        match self.settings.workspaces.is_empty() {
            // The settings accept the same texts as an id does.
            false => named.filter_map(|id| id.parse().ok()).collect(),
            true => {
                let all = self.registry.workspaces(&Scope::All).into_iter();
                all.map(|workspace| workspace.id).collect()
            }
        }
    }
}
