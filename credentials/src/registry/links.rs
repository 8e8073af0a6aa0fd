//! Cross-links: the installation's chain records states of workspaces' chains, so that truncating
//! one chain shows in the other. Changes that end a use are linked at once; others after an hour or
//! [`MAX_UNLINKED_COMMITS`] commits, because a start reads every record after the last link. One
//! record has several links.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use keyside_store::chain::CommitError;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::Registry;
use crate::{
    chains::Priority,
    model::{ActorContext, WorkspaceId},
    record::{Draft, Event},
};

/// Workspaces whose chains have changed since their last link.
#[derive(Default)]
pub(super) struct Links {
    waiting: Mutex<Waiting>,
    due: Notify,
}

#[derive(Default)]
struct Waiting {
    changed: BTreeMap<WorkspaceId, Changed>,
    /// Workspaces whose last change has an unknown outcome.
    uncertain: BTreeSet<WorkspaceId>,
}

struct Changed {
    due: Instant,
    /// Commits since the last link.
    commits: u32,
}

impl Links {
    /// Schedules a link after a commit.
    pub(super) fn changed(&self, workspace: &WorkspaceId, ends_use: bool) {
        let now = Instant::now();
        let is_soon = {
            let mut waiting = self.waiting.lock();
            let first = || Changed {
                due: now + LINK_INTERVAL,
                commits: 0,
            };
            let changed = waiting.changed.entry(workspace.clone());
            let changed = changed.or_insert_with(first);
            changed.commits += 1;
            let is_soon = ends_use || changed.commits == MAX_UNLINKED_COMMITS;
            if is_soon {
                changed.due = changed.due.min(now + LINK_DELAY);
            }
            is_soon
        };
        if is_soon {
            self.due.notify_one();
        }
    }

    /// Schedules a read, because the outcome of the last change is unknown.
    pub(super) fn mark_uncertain(&self, workspace: WorkspaceId) {
        self.waiting.lock().uncertain.insert(workspace);
        self.due.notify_one();
    }

    /// Waits until a link may be due.
    pub(super) async fn wait(&self) {
        let next = {
            let waiting = self.waiting.lock();
            match waiting.uncertain.is_empty() {
                true => waiting.changed.values().map(|changed| changed.due).min(),
                false => Some(Instant::now() + LINK_DELAY),
            }
        };
        match next {
            Some(next) => {
                let _ = timeout_at(next, self.due.notified()).await;
            }
            None => self.due.notified().await,
        }
    }

    fn take_due(&self, all: bool) -> Vec<WorkspaceId> {
        let now = Instant::now();
        let mut waiting = self.waiting.lock();
        let is_due = |_: &WorkspaceId, changed: &mut Changed| all || changed.due <= now;
        let due = waiting.changed.extract_if(.., is_due);
        due.map(|(id, _)| id).collect()
    }
}

impl Registry {
    /// Writes due links, and resolves unknown outcomes.
    pub(super) async fn link_due(&self) {
        let uncertain = std::mem::take(&mut self.links.waiting.lock().uncertain);
        for id in uncertain {
            let _changing = self.chains.of(&id).lock(Priority::Normal).await;
            if let Err(error) = self.read_workspace(&id).await {
                tracing::debug!(workspace = %id, %error, "the outcome of a change is still unknown");
                self.links.mark_uncertain(id);
            }
        }
        self.link(false).await;
    }

    /// Writes due links, or all if `all`.
    pub(crate) async fn link(&self, all: bool) {
        let due = self.links.take_due(all);
        if due.is_empty() {
            return;
        }
        if let Err(error) = self.write_links(&due).await {
            tracing::warn!(%error, "links to workspaces' chains could not be written yet");
            let mut waiting = self.links.waiting.lock();
            let due_again = Instant::now() + RETRY_AFTER;
            let again = due.into_iter().map(|id| {
                let changed = Changed {
                    due: due_again,
                    commits: 0,
                };
                (id, changed)
            });
            waiting.changed.extend(again);
        }
    }

    async fn write_links(&self, due: &[WorkspaceId]) -> Result<(), CommitError> {
        let _changing = self.chains.installation().lock(Priority::Normal).await;
        let committed = self.chains.commit_to_installation(|_| {
            let (mut links, mut writes) = (Vec::new(), Vec::new());
            for id in due {
                let state = self.chains.of(id).state();
                // A link must not replace a registration that cannot be read by one that can.
                let registration = self.chains.existing(id).filter(|it| !it.is_unreadable);
                let Some((state, mut registration)) = state.zip(registration) else {
                    continue;
                };
                let link = state.head.link();
                registration.link = Some(link);
                // Once `pending` is cleared, a missing anchor is damage.
                let has_begun = state.head.incarnation == registration.incarnation;
                let is_pending = registration.pending.is_some() && has_begun;
                if is_pending && self.chains.is_anchored(&self.chains.of(id)) {
                    registration.pending = None;
                }
                writes.push(registration.write(id));
                links.push((id.clone(), link));
            }
            let drafts = links.chunks(LINKS_PER_RECORD).map(|links| Draft {
                links: links.to_vec(),
                ..Draft::new(Event::ChainsLinked, &ActorContext::system("links"))
            });
            (drafts.collect(), writes)
        });
        committed.await
    }
}

/// Changes that end a use within this time share a commit.
const LINK_DELAY: Duration = Duration::from_millis(100);
/// The longest time from a change to its link.
const LINK_INTERVAL: Duration = Duration::from_secs(3_600);
/// After a failure to write links.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// About twenty links fit into a record of 4 KiB.
const LINKS_PER_RECORD: usize = 16;
/// A chain is linked after this many commits. A start verifies about 10,000 records in 100 ms.
const MAX_UNLINKED_COMMITS: u32 = 64;
