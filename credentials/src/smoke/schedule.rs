//! The background task: starts the runs of the schedule and of changed keys, and executes runs.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::Duration,
};

use jiff::Timestamp;
use keyside_store::StorageError;
use tokio::time::{Instant, timeout};

use super::{
    LEDGER, Selection, Smoke,
    ledger::{Claim, Ledger, Run, Trigger},
};
use crate::{model::WorkspaceId, snapshot::Snapshot};

/// What the background task remembers between two looks.
#[derive(Default)]
pub(super) struct Watch {
    /// The credentials at the last look.
    seen: Weak<Snapshot>,
    /// The workspaces with a tagged key whose secret was never checked.
    due: BTreeSet<WorkspaceId>,
    /// When a run of changed keys was started last.
    changed_at: Option<Instant>,
    /// When the metrics were read from the notes last.
    refreshed_at: Option<Instant>,
    /// When the ledger was read last.
    read_at: Option<Instant>,
    /// The time of the schedule that was claimed last, in seconds.
    claimed: Option<i64>,
}

impl Smoke {
    /// Starts and executes runs, on the runtime that polls it, until this is dropped.
    pub fn background(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let (smoke, wake) = (Arc::downgrade(self), self.wake.clone());
        async move {
            let mut watch = Watch::default();
            let mut is_woken = true;
            while let Some(smoke) = smoke.upgrade() {
                let looked = smoke.look(&mut watch, is_woken).await;
                drop(smoke);
                let pause = match looked {
                    Ok(()) => TICK,
                    Err(error) => {
                        tracing::warn!(%error, "smoke runs wait for the store");
                        FAILURE_PAUSE
                    }
                };
                is_woken = timeout(pause, wake.notified()).await.is_ok();
            }
        }
    }

    /// Starts what is due, and executes what nobody executes. Reads the store only if something may
    /// have changed there.
    pub(super) async fn look(
        self: &Arc<Self>,
        watch: &mut Watch,
        is_woken: bool,
    ) -> Result<(), StorageError> {
        let mut is_added = self.start_scheduled(watch).await?;
        self.look_for_changes(watch).await?;
        let is_rested = has_passed(watch.changed_at, CHANGE_PAUSE);
        if !watch.due.is_empty() && self.settings.on_change && is_rested {
            is_added |= self.start_changed(watch).await?;
        }
        if is_added || is_woken || has_passed(watch.read_at, LEDGER_INTERVAL) {
            watch.read_at = Some(Instant::now());
            self.execute_waiting().await?;
        }
        Ok(())
    }

    /// Claims the latest time of the schedule. Returns whether a run was added.
    pub(super) async fn start_scheduled(&self, watch: &mut Watch) -> Result<bool, StorageError> {
        let now = self.registry.clock.now();
        let schedule = self.settings.schedule.as_ref();
        let latest = schedule.and_then(|schedule| schedule.last_until(now.as_second()));
        let Some(latest) = latest.filter(|latest| watch.claimed != Some(*latest)) else {
            return Ok(false);
        };
        let time = Timestamp::from_second(latest).unwrap_or(Timestamp::MIN);
        let (all, was_watching) = (Selection::default(), watch.claimed.is_some());
        let mut is_added = false;
        if !self.plan(&all).is_empty() {
            let run = Run::new(Trigger::Schedule, all, now);
            let claim = |ledger: &mut Ledger| ledger.claim(time, run.clone(), was_watching);
            let claimed = self.notes.update(LEDGER, claim).await?;
            is_added = claimed == Claim::Added;
            if claimed == Claim::Full {
                tracing::error!(%time, "a scheduled smoke run was left out: too many runs are waiting");
            }
        }
        watch.claimed = Some(latest);
        Ok(is_added)
    }

    /// Looks for keys that were never checked, after a change of any credential.
    pub(super) async fn look_for_changes(&self, watch: &mut Watch) -> Result<(), StorageError> {
        let current = Arc::downgrade(&self.registry.current());
        let is_stale = has_passed(watch.refreshed_at, REFRESH_INTERVAL);
        let is_changed = !Weak::ptr_eq(&watch.seen, &current);
        let is_awaited = !watch.due.is_empty() && self.settings.on_change;
        if !is_stale && !is_awaited && !is_changed {
            return Ok(());
        }
        watch.due.clear();
        let (mut known, since) = (Vec::new(), self.board.lock().counted());
        for subject in self.plan(&Selection::default()) {
            let Some(credential) = &subject.credential else {
                continue;
            };
            let series = self.series(&subject).await?;
            let version = self.registry.in_use(credential);
            if version.is_some_and(|version| series.is_due(&version)) {
                watch.due.insert(subject.workspace.clone());
            }
            known.push((credential.id.clone(), subject.provider, series));
        }
        self.board.lock().replace_credentials(known, since);
        // A missing key may be there now. Posted results do not depend on keys.
        if is_stale || is_changed && !self.settings.expected.is_empty() {
            self.refresh_slots().await?;
        }
        if is_stale {
            watch.refreshed_at = Some(Instant::now());
        }
        watch.seen = current;
        Ok(())
    }

    /// Starts a run of changed keys, unless there is one: then this is asked again.
    async fn start_changed(&self, watch: &mut Watch) -> Result<bool, StorageError> {
        let now = self.registry.clock.now();
        // Named, so that the run is shown where it checks something. All, if they are many.
        let workspaces = match watch.due.len() {
            ..=MAX_NAMED => watch.due.iter().cloned().collect(),
            _ => Vec::new(),
        };
        let selection = Selection {
            workspaces,
            providers: Vec::new(),
        };
        let run = Run::new(Trigger::Change, selection, now);
        let add = |ledger: &mut Ledger| ledger.add_change(run.clone());
        let is_added = self.notes.update(LEDGER, add).await?;
        if is_added {
            watch.due.clear();
            watch.changed_at = Some(Instant::now());
        }
        Ok(is_added)
    }

    /// Executes the runs that no process executes, each in a task of its own.
    async fn execute_waiting(self: &Arc<Self>) -> Result<(), StorageError> {
        loop {
            let now = self.registry.clock.now();
            let take = |ledger: &mut Ledger| ledger.take(now);
            let Some(run) = self.notes.update(LEDGER, take).await? else {
                return Ok(());
            };
            tracing::info!(run = %run.id, trigger = ?run.trigger, "a smoke run");
            tokio::spawn(self.clone().execute(run));
        }
    }
}

fn has_passed(since: Option<Instant>, pause: Duration) -> bool {
    since.is_none_or(|since| since.elapsed() >= pause)
}

/// How soon a change of a key is noticed.
const TICK: Duration = Duration::from_secs(1);

/// After an error of the store, such as a full disk.
const FAILURE_PAUSE: Duration = Duration::from_secs(60);

/// Between two runs of changed keys: a burst of changes becomes one run.
const CHANGE_PAUSE: Duration = Duration::from_secs(5);

/// Workspaces that a run of changed keys names.
const MAX_NAMED: usize = 16;

/// How soon a run of another process that has ended is continued, after its lease.
const LEDGER_INTERVAL: Duration = Duration::from_secs(15);

/// How soon the metrics show results of other processes.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5 * 60);
