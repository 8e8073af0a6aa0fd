//! Group commit: changes of one workspace that come at the same time share one swap of its head.
//!
//! Changes are decided one at a time, in the order in which they get the chain's lock
//! (`chains/queue.rs`): what ends the use of a key first. A change that has decided while others
//! wait for the lock is not committed yet. It joins the workspace's open group, passes the lock on,
//! and waits without any lock. The next change decides as if the group were on disk. Each change
//! keeps its own audit record; of several writes to one document, the last one is written.
//!
//! The holder of the lock may commit the open group. These do:
//!
//! - the change after which nobody waits, so that a lone change is committed at once;
//! - a change that ends the use of a key, so that it is in the next swap however many others wait;
//! - the change that fills the group ([`MAX_RECORDS`]);
//! - a waiting member: it is in line for the lock again, behind those that waited before it;
//! - everything else that changes or shows the workspace (erasing, sealing again, exporting, a
//!   secret read from Vault), before it begins ([`Registry::lock_workspace`]).
//!
//! Nothing is decided while a commit is in progress, so a group is never based on another one whose
//! outcome is open. A commit that does not know of the group (recovery, a new signing key, another
//! process) lets it lose the race. A backup waits for a commit in progress only: members that wait
//! do not hold the gate, and are not in it. Groups of the installation's chain are not formed here:
//! its small records share commits already (`Chains::append_records`), and its other changes are
//! rare.
//!
//! The members get one outcome. After a lost race all decide again. If the commit fails without a
//! change, one member may be the reason (a full disk, too many documents), so all decide again, each
//! in a commit of its own. An answer that changes nothing, such as a label that is taken, waits for
//! the group that it was decided on, and is decided again if that fails.
//!
//! A member whose caller stops waiting stays in the group. If the one that commits disappears, which
//! happens only when the process stops, the outcome is unknown to the others.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use keyside_store::{
    StorageError,
    chain::{CommitError, Write},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::ChangeGuard;
use crate::{
    chains::{Priority, Turn},
    documents::{Document, WorkspaceDocument},
    model::{ActorContext, CredentialChange, WorkspaceId},
    record::Draft,
    registry::{ChangeError, Registry},
    snapshot::{CredentialEntry, WorkspaceEntry},
};

/// What was decided under a workspace's lock.
pub(in crate::registry) struct Decision<T> {
    /// `None` if nothing is to be committed.
    change: Option<Change>,
    /// Returned to the caller once everything that it is based on is on disk.
    answer: T,
}

pub(in crate::registry) struct Change {
    drafts: Vec<Draft>,
    writes: Vec<Write>,
    /// The workspace with the change, still at the state that is on disk.
    workspace: Arc<WorkspaceEntry>,
    credential: Option<ChangedCredential>,
}

struct ChangedCredential {
    workspace_before: Arc<WorkspaceEntry>,
    entry: Arc<CredentialEntry>,
    /// For subscribers; `None` for a change that only Keyside's own records are about.
    announced: Option<CredentialChange>,
}

/// The open groups of all workspaces. Each is changed only by the holder of its workspace's lock.
#[derive(Default)]
pub(in crate::registry) struct Groups(Mutex<HashMap<WorkspaceId, Slot>>);

#[derive(Default)]
struct Slot {
    open: Option<Group>,
    /// How many of the next changes are committed alone, after a group has failed.
    alone: usize,
}

/// Changes that will share a commit.
struct Group {
    /// The workspace with all of them, still at the state that is on disk.
    workspace: Arc<WorkspaceEntry>,
    drafts: Vec<Draft>,
    writes: BTreeMap<String, Write>,
    credentials: Vec<ChangedCredential>,
    changes: usize,
    waiting: Vec<oneshot::Sender<Outcome>>,
}

type Outcome = Result<(), CommitError>;

/// What the holder of the lock does after it has decided.
enum Next {
    /// The decision is based on nothing but what is on disk, and changes nothing.
    Answer,
    Commit,
    /// Passes the lock on, and waits for the group's outcome.
    Wait(oneshot::Receiver<Outcome>),
}

impl<T> Decision<T> {
    pub(in crate::registry) fn unchanged(answer: T) -> Self {
        Self {
            change: None,
            answer,
        }
    }

    pub(in crate::registry) fn commit(change: Change, answer: T) -> Self {
        Self {
            change: Some(change),
            answer,
        }
    }
}

impl Change {
    /// A change of one credential, and perhaps of its workspace's own document.
    pub(in crate::registry) fn of_credential(
        workspace: Arc<WorkspaceEntry>,
        settings: Option<WorkspaceDocument>,
        (entry, write): (CredentialEntry, Write),
        drafts: Vec<Draft>,
    ) -> Self {
        let settings_write = settings.as_ref().map(Document::write);
        let settings = settings.unwrap_or_else(|| workspace.document.clone());
        let entry = Arc::new(entry);
        let announced = drafts.iter().find_map(|draft| draft.event.change());
        Self {
            drafts,
            writes: [write].into_iter().chain(settings_write).collect(),
            workspace: Arc::new(workspace.with_all(settings, [entry.clone()])),
            credential: Some(ChangedCredential {
                workspace_before: workspace,
                entry,
                announced,
            }),
        }
    }

    /// A change of the workspace's own document.
    pub(in crate::registry) fn of_workspace(
        workspace: &WorkspaceEntry,
        document: WorkspaceDocument,
        draft: Draft,
    ) -> Self {
        Self {
            drafts: vec![draft],
            writes: vec![document.write()],
            workspace: Arc::new(workspace.with_all(document, [])),
            credential: None,
        }
    }

    pub(in crate::registry) fn record(workspace: Arc<WorkspaceEntry>, draft: Draft) -> Self {
        Self {
            drafts: vec![draft],
            writes: Vec::new(),
            workspace,
            credential: None,
        }
    }
}

impl Registry {
    /// Decides a change of a workspace under its lock, and returns the answer once the change, and
    /// everything that it was decided on, is on disk and published. `decide` finds the workspace in
    /// [`Self::current_workspace`].
    ///
    /// # Errors
    /// [`ChangeError::Raced`] if it must be decided again.
    pub(in crate::registry) async fn change_workspace<T>(
        &self,
        by: &ActorContext,
        id: &WorkspaceId,
        priority: Priority,
        decide: impl FnOnce() -> Result<Decision<T>, ChangeError>,
    ) -> Result<T, ChangeError> {
        let guard = self.join_workspace(by, id, priority).await?;
        let (change, answer) = match decide() {
            Ok(Decision { change, answer }) => (change, Ok(answer)),
            Err(ChangeError::KeyLost) => (None, Err(self.missing_key(id).await)),
            Err(error) => (None, Err(error)),
        };
        let finds_it_made = change.is_none() && answer.is_ok();
        self.finish_decision(guard, priority, id, change).await?;
        if finds_it_made {
            self.confirm(&self.chains.of(id)).await?;
        }
        answer
    }

    /// Returns once the decision's change, and what it was decided on, is on disk.
    async fn finish_decision(
        &self,
        guard: ChangeGuard<'_, Turn>,
        priority: Priority,
        id: &WorkspaceId,
        change: Option<Change>,
    ) -> Result<(), ChangeError> {
        let has_change = change.is_some();
        let is_last = priority == Priority::High || !guard.lock.is_wanted();
        let outcome = match self.groups.add(id, change, is_last) {
            Next::Answer => return Ok(()),
            Next::Commit => self.commit_group(id).await,
            Next::Wait(outcome) => {
                drop(guard);
                self.wait_for_group(id, outcome).await
            }
        };
        match outcome {
            // The failed changes are those of others.
            Err(_) if !has_change => Err(ChangeError::Raced),
            outcome => Ok(outcome?),
        }
    }

    /// Waits until the group is committed, by this member if it gets the lock first.
    async fn wait_for_group(
        &self,
        id: &WorkspaceId,
        mut outcome: oneshot::Receiver<Outcome>,
    ) -> Outcome {
        let tracked = self.chains.of(id);
        let known = tokio::select! {
            biased;
            known = &mut outcome => known,
            turn = tracked.lock(Priority::Normal) => {
                let gate = self.gate.read().await;
                // Of its own group, this member gets the outcome below. If another was faster, the
                // next group is only committed sooner.
                let _ = self.commit_group(id).await;
                drop((gate, turn));
                outcome.await
            }
        };
        known.unwrap_or_else(|_| {
            self.links.mark_uncertain(id.clone());
            let seq = tracked.state().map_or(0, |state| state.head.seq);
            Err(CommitError::OutcomeUnknown {
                seq: seq + 1,
                error: StorageError::unavailable("the process is stopping"),
            })
        })
    }

    /// Commits and publishes the open group of a workspace, if there is one. The caller holds the
    /// workspace's lock, and the gate.
    pub(in crate::registry) async fn commit_group(&self, id: &WorkspaceId) -> Outcome {
        let Some(mut group) = self.groups.take(id) else {
            return Ok(());
        };
        let (changes, waiting) = (group.changes, std::mem::take(&mut group.waiting));
        let mut outcome = self.commit_and_publish(group).await;
        let was_refused = !matches!(
            outcome,
            Ok(()) | Err(CommitError::Raced | CommitError::OutcomeUnknown { .. })
        );
        if was_refused && changes > 1 {
            self.groups.separate(id, changes);
            outcome = Err(CommitError::Raced);
        }
        for member in waiting {
            // The caller may have stopped waiting.
            let _ = member.send(outcome.clone());
        }
        outcome
    }

    async fn commit_and_publish(&self, group: Group) -> Outcome {
        let writes = group.writes.into_values().collect();
        let state = self
            .commit_in(&group.workspace, group.drafts, writes)
            .await?;
        let workspace = Arc::unwrap_or_clone(group.workspace);
        self.publish_committed(workspace.at(state)).await?;
        for changed in &group.credentials {
            self.credential_changed(&changed.workspace_before, &changed.entry);
            if let Some(change) = changed.announced {
                self.publish_change(&changed.entry.document, change);
            }
        }
        Ok(())
    }

    /// The workspace as it is to be changed: with its open group, or as it was last published. The
    /// caller holds the workspace's lock.
    pub(in crate::registry) fn current_workspace(
        &self,
        id: &WorkspaceId,
    ) -> Option<Arc<WorkspaceEntry>> {
        let published = || self.snapshot.load().workspaces.get(id).cloned();
        self.groups.workspace(id).or_else(published)
    }
}

impl Groups {
    /// Adds a change to the workspace's group, and says what its caller does next.
    fn add(&self, id: &WorkspaceId, change: Option<Change>, is_last: bool) -> Next {
        let mut slots = self.0.lock();
        let slot = match change {
            Some(change) => {
                let slot = slots.entry(id.clone()).or_default();
                match &mut slot.open {
                    Some(group) => group.add(change),
                    None => slot.open = Some(Group::of(change)),
                }
                Some(slot)
            }
            None => slots.get_mut(id),
        };
        let Some((group, alone)) =
            slot.and_then(|slot| Some((slot.open.as_mut()?, slot.alone > 0)))
        else {
            return Next::Answer;
        };
        if is_last || alone || group.drafts.len() >= MAX_RECORDS {
            return Next::Commit;
        }
        let (sender, outcome) = oneshot::channel();
        group.waiting.push(sender);
        Next::Wait(outcome)
    }

    fn take(&self, id: &WorkspaceId) -> Option<Group> {
        let mut slots = self.0.lock();
        let slot = slots.get_mut(id)?;
        let group = slot.open.take()?;
        slot.alone = slot.alone.saturating_sub(1);
        if slot.alone == 0 {
            slots.remove(id);
        }
        Some(group)
    }

    /// Keeps the next changes of a workspace in commits of their own.
    fn separate(&self, id: &WorkspaceId, changes: usize) {
        self.0.lock().entry(id.clone()).or_default().alone = changes;
    }

    /// The workspace with the changes of its open group, if there is one.
    pub(super) fn workspace(&self, id: &WorkspaceId) -> Option<Arc<WorkspaceEntry>> {
        let slots = self.0.lock();
        let group = slots.get(id)?.open.as_ref()?;
        Some(group.workspace.clone())
    }
}

impl Group {
    fn of(first: Change) -> Self {
        let mut group = Self {
            workspace: first.workspace.clone(),
            drafts: Vec::new(),
            writes: BTreeMap::new(),
            credentials: Vec::new(),
            changes: 0,
            waiting: Vec::new(),
        };
        group.add(first);
        group
    }

    fn add(&mut self, change: Change) {
        self.workspace = change.workspace;
        self.drafts.extend(change.drafts);
        self.credentials.extend(change.credential);
        self.changes += 1;
        for write in change.writes {
            let write = match self.writes.get(&write.name) {
                Some(earlier) => write.replacing(earlier),
                None => write,
            };
            self.writes.insert(write.name.clone(), write);
        }
    }
}

/// Some 6 KB of records: one object that the embedded store keeps in its tree.
const MAX_RECORDS: usize = 12;
