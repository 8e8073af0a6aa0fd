//! Figures for metrics, kept in memory so that a scrape reads no store.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use keyside_config::ProviderId;
use keyside_store::StorageError;

use super::{
    Smoke,
    outcome::Class,
    plan::{Selection, Subject},
    series::Series,
};
use crate::model::{CredentialId, Scope, WorkspaceId};

/// The figures of one provider, over all workspaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The provider.
    pub provider: ProviderId,
    /// Checks that passed or failed since this process started.
    pub runs: u64,
    /// Those that failed.
    pub failures: u64,
    /// Failures in a row of the key that has most. A restart does not reset them.
    pub consecutive_failures: u32,
    /// When a check passed last. A restart does not reset it.
    pub last_success_at: Option<Timestamp>,
}

/// What figures are made from.
#[derive(Default)]
pub(super) struct Board {
    counts: BTreeMap<ProviderId, Counts>,
    credentials: BTreeMap<CredentialId, Standing>,
    slots: BTreeMap<(WorkspaceId, ProviderId), Standing>,
    /// Results that were counted.
    counted: u64,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    runs: u64,
    failures: u64,
}

/// The latest state of a key, or of a provider of a workspace.
struct Standing {
    provider: ProviderId,
    consecutive_failures: u32,
    last_success_at: Option<Timestamp>,
    /// The number of its latest result among the counted ones; 0 if it was read from the store.
    counted: u64,
}

impl Standing {
    fn of(provider: ProviderId, series: &Series, counted: u64) -> Self {
        Self {
            provider,
            consecutive_failures: series.consecutive_failures,
            last_success_at: series.last_success_at,
            counted,
        }
    }
}

impl Board {
    /// Counts a result of a key, or of a provider without one.
    pub(super) fn count(&mut self, subject: &Subject, class: Class, series: &Series) {
        let provider = &subject.provider;
        let counts = self.counts.entry(provider.clone()).or_default();
        counts.runs += u64::from(class != Class::Skipped);
        counts.failures += u64::from(class == Class::Failed);
        self.counted += 1;
        let standing = Standing::of(provider.clone(), series, self.counted);
        match &subject.credential {
            Some(key) => self.credentials.insert(key.id.clone(), standing),
            None => {
                let slot = (subject.workspace.clone(), provider.clone());
                self.slots.insert(slot, standing)
            }
        };
    }

    /// Results that were counted so far.
    pub(super) fn counted(&self) -> u64 {
        self.counted
    }

    /// Replaces what is known of tagged keys, so that a key without the tag no longer counts. See
    /// [`replace`].
    pub(super) fn replace_credentials(
        &mut self,
        known: Vec<(CredentialId, ProviderId, Series)>,
        since: u64,
    ) {
        replace(&mut self.credentials, known, since);
    }

    fn standings(&self) -> impl Iterator<Item = &Standing> {
        self.credentials.values().chain(self.slots.values())
    }
}

/// Replaces standings by those that were read from the store after `since` results were counted.
/// One that was counted later stays. Times would not say so: another process, whose result was read,
/// has a clock of its own.
fn replace<K: Ord>(
    standings: &mut BTreeMap<K, Standing>,
    known: Vec<(K, ProviderId, Series)>,
    since: u64,
) {
    let mut before = std::mem::take(standings);
    for (key, provider, series) in known {
        let read = Standing::of(provider, &series, 0);
        let newer = before.remove(&key).filter(|known| known.counted > since);
        standings.insert(key, newer.unwrap_or(read));
    }
}

impl Smoke {
    /// The figures of every known provider, and of others that were checked.
    pub fn figures(&self) -> Vec<Figures> {
        let board = self.board.lock();
        let known = self.registry.catalogue.iter();
        let mut providers: BTreeSet<_> = known.map(|provider| provider.id.clone()).collect();
        providers.extend(board.counts.keys().cloned());
        providers.extend(board.standings().map(|one| one.provider.clone()));
        let figures = providers.into_iter().map(|provider| {
            let counts = board.counts.get(&provider).copied().unwrap_or_default();
            let (mut consecutive_failures, mut last_success_at) = (0, None);
            for one in board.standings().filter(|one| one.provider == provider) {
                consecutive_failures = one.consecutive_failures.max(consecutive_failures);
                last_success_at = one.last_success_at.max(last_success_at);
            }
            Figures {
                runs: counts.runs,
                failures: counts.failures,
                consecutive_failures,
                last_success_at,
                provider,
            }
        });
        figures.collect()
    }

    /// Reads what is known of providers without a key: those that are still missing, and those whose
    /// latest result was posted.
    pub(super) async fn refresh_slots(&self) -> Result<(), StorageError> {
        let plan = self.plan(&Selection::default()).into_iter();
        let missing: BTreeSet<_> = plan
            .filter(|subject| subject.credential.is_none())
            .map(|subject| (subject.workspace, subject.provider))
            .collect();
        let (mut known, since) = (Vec::new(), self.board.lock().counted());
        for workspace in self.slot_workspaces() {
            for (provider, series) in self.slots(&workspace).await? {
                let slot = (workspace.clone(), provider.clone());
                if series.is_posted() || missing.contains(&slot) {
                    known.push((slot, provider, series));
                }
            }
        }
        replace(&mut self.board.lock().slots, known, since);
        Ok(())
    }

    /// The workspaces that may have slots: all that exist, and those that the settings name.
    pub(super) fn slot_workspaces(&self) -> BTreeSet<WorkspaceId> {
        let all = self.registry.workspaces(&Scope::All);
        let all = all.into_iter().map(|workspace| workspace.id);
        all.chain(self.workspaces()).collect()
    }
}
