//! The budgets of a request: the limits of its credential and of its workspace.
//!
//! Checked when the request is resolved, charged when it begins and when it ends. Where nothing is
//! limited, this compares two fields and reads neither clock nor count.

use std::sync::Arc;

use jiff::Timestamp;
use keyside_config::ProviderId;

use super::{Grant, Resolver};
use crate::{
    model::{Cap, Label, Limits, Refusal, Usage, WorkspaceId},
    snapshot::WorkspaceEntry,
    spend::{Day, Meter, Unit},
};

/// A workspace's limits, and what it has spent.
#[derive(Clone)]
pub(super) struct WorkspaceBudget {
    limits: Limits,
    meter: Arc<Meter>,
}

/// What a credential or a workspace with limits has spent today, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The credential's provider and label; `None` for the budget of the workspace.
    pub credential: Option<(ProviderId, Label)>,
    /// The limits.
    pub limits: Limits,
    /// What was spent.
    pub usage: Usage,
}

/// One of the two budgets of a request.
struct Charged<'a> {
    is_of_workspace: bool,
    limits: Limits,
    meter: &'a Meter,
}

impl Resolver {
    /// What every credential and workspace with limits has spent today. Reads all credentials: for
    /// metrics, not for requests.
    pub fn budgets(&self) -> Vec<Budget> {
        let (snapshot, today) = (self.snapshots.load(), Day::of(self.clock.now()));
        let mut budgets = Vec::new();
        for workspace in snapshot.workspaces.values() {
            let id = &workspace.document.id;
            let mut add = |credential, limits: Limits, meter: &Meter| {
                budgets.extend(meter.usage(limits, today).map(|usage| Budget {
                    workspace: id.clone(),
                    credential,
                    limits,
                    usage,
                }));
            };
            add(None, workspace.document.limits, &workspace.spend);
            for entry in workspace.credentials.values() {
                let document = &entry.document;
                if document.revoked_at.is_none() && !document.limits.is_none() {
                    let name = (document.provider.clone(), document.label.clone());
                    add(Some(name), document.limits, &entry.signals.spend);
                }
            }
        }
        budgets
    }
}

impl WorkspaceBudget {
    /// `None` if the workspace has no limits.
    pub(super) fn of(workspace: &WorkspaceEntry) -> Option<Self> {
        let limits = workspace.document.limits;
        (!limits.is_none()).then(|| Self {
            limits,
            meter: workspace.spend.clone(),
        })
    }
}

impl Grant {
    /// Refuses if a limit is reached. `now` is called only if there are limits.
    pub(super) fn check_budget(&self, now: impl FnOnce() -> Timestamp) -> Result<(), Refusal> {
        if !self.is_limited() {
            return Ok(());
        }
        let today = Day::of(now());
        let exhausted = self.charged().find_map(|charged| {
            let unit = charged.meter.exhausted(charged.limits, today)?;
            Some(charged.cap(unit))
        });
        exhausted.map_or(Ok(()), |cap| Err(Refusal::BudgetExhausted(cap)))
    }

    /// Counts one request, when it is about to be sent.
    pub fn count_request(&self, now: Timestamp) {
        self.count(Unit::Requests, 1, || now);
    }

    /// Counts the tokens of a request, when it has ended. `now` is called only if there are limits.
    pub fn count_tokens(&self, tokens: u64, now: impl FnOnce() -> Timestamp) {
        if tokens > 0 {
            self.count(Unit::Tokens, tokens, now);
        }
    }

    fn is_limited(&self) -> bool {
        self.workspace.is_some() || !self.entry.document.limits.is_none()
    }

    fn count(&self, unit: Unit, amount: u64, now: impl FnOnce() -> Timestamp) {
        if !self.is_limited() {
            return;
        }
        let today = Day::of(now());
        let mut is_store_due = false;
        for charged in self.charged() {
            let counted = charged.meter.count(unit, amount, charged.limits, today);
            is_store_due |= counted.is_store_due;
            if let Some(used) = counted.warning {
                self.warn(&charged, unit, used);
            }
        }
        if is_store_due {
            self.entry.signals.store_spend();
        }
    }

    fn warn(&self, charged: &Charged<'_>, unit: Unit, used: u64) {
        let credential = (!charged.is_of_workspace).then(|| self.credential_id().as_str());
        tracing::warn!(
            workspace = self.workspace().as_str(),
            credential,
            limit = charged.cap(unit).field(),
            used,
            of = unit.limit(charged.limits).map_or(0, u64::from),
            "80 % of a limit is used: once it is reached, requests are refused until 00:00 UTC. \
             Raise it if they should not be"
        );
    }

    /// The budgets with limits: the credential's first.
    fn charged(&self) -> impl Iterator<Item = Charged<'_>> {
        let limits = self.entry.document.limits;
        let credential = (!limits.is_none()).then(|| Charged {
            is_of_workspace: false,
            limits,
            meter: &self.entry.signals.spend,
        });
        let workspace = self.workspace.as_ref().map(|budget| Charged {
            is_of_workspace: true,
            limits: budget.limits,
            meter: &budget.meter,
        });
        credential.into_iter().chain(workspace)
    }
}

impl Charged<'_> {
    fn cap(&self, unit: Unit) -> Cap {
        match (self.is_of_workspace, unit) {
            (false, Unit::Requests) => Cap::CredentialRequests,
            (false, Unit::Tokens) => Cap::CredentialTokens,
            (true, Unit::Requests) => Cap::WorkspaceRequests,
            (true, Unit::Tokens) => Cap::WorkspaceTokens,
        }
    }
}
