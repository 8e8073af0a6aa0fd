//! Events for subscribers, such as webhooks. Each is published once what it reports is on disk, by
//! the process that caused it. A subscriber that needs every change reads the audit log.

use keyside_config::{ProviderId, Verification};
use tokio::sync::broadcast;

use super::Registry;
use crate::{
    documents::CredentialDocument,
    live_check::Finding,
    model::{CredentialChange, CredentialEvent, CredentialEventKind, CredentialId, WorkspaceId},
};

impl Registry {
    /// Subscribes to what happens to credentials from now on: changes, and how providers treat
    /// them, declared ones included. A subscriber that is too slow misses the oldest events.
    pub fn events(&self) -> broadcast::Receiver<CredentialEvent> {
        let events = self.notices.subscribe();
        self.announced_expiries.due.notify_one();
        events
    }

    pub(super) fn publish_change(&self, document: &CredentialDocument, change: CredentialChange) {
        let changed = CredentialEventKind::Changed(change);
        self.notices
            .publish(document.event(changed, self.clock.now()));
        if document.expires_at.is_some() {
            self.announced_expiries.due.notify_one();
        }
    }

    /// Nothing but the id of a lost credential is known.
    pub(super) fn publish_lost_revocation(&self, workspace: &WorkspaceId, id: &CredentialId) {
        let revoked = CredentialEventKind::Changed(CredentialChange::Revoked);
        self.notices.publish(CredentialEvent {
            credential: Some(id.clone()),
            ..self.event_of_workspace(workspace, revoked)
        });
    }

    /// Publishes that a live check failed, if the verdict is new: the provider rejects the
    /// credential, and did not at the last check.
    pub(super) fn publish_finding(
        &self,
        id: &CredentialId,
        before: Option<Verification>,
        finding: &Finding,
    ) {
        if finding.verification != Verification::Rejected || before == Some(Verification::Rejected)
        {
            return;
        }
        if let Some((_, entry)) = self.snapshot.load().credential(id) {
            let failed = CredentialEventKind::CheckFailed(finding.cause);
            let event = entry.document.event(failed, self.clock.now());
            self.notices.publish(event);
        }
    }

    /// Publishes that a smoke check failed: of this credential, or of none, if the workspace has no
    /// credential of this provider to check. `verdict` is a name, and `consecutive` counts failures in
    /// a row, this one included.
    pub fn publish_smoke_failure(
        &self,
        workspace: &WorkspaceId,
        provider: &ProviderId,
        credential: Option<&CredentialId>,
        verdict: &'static str,
        consecutive: u32,
    ) {
        let failed = CredentialEventKind::SmokeFailed {
            verdict,
            consecutive,
        };
        let snapshot = self.all().load();
        let found = credential.and_then(|id| snapshot.credential(id));
        self.notices.publish(match found {
            Some((_, entry)) => entry.document.event(failed, self.clock.now()),
            None => CredentialEvent {
                provider: Some(provider.clone()),
                credential: credential.cloned(),
                ..self.event_of_workspace(workspace, failed)
            },
        });
    }

    pub(super) fn event_of_workspace(
        &self,
        workspace: &WorkspaceId,
        kind: CredentialEventKind,
    ) -> CredentialEvent {
        CredentialEvent {
            at: self.clock.now(),
            workspace: workspace.clone(),
            provider: None,
            credential: None,
            version: None,
            label: None,
            environment: None,
            kind,
        }
    }
}
