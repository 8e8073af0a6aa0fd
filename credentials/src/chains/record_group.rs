//! Records that change no document share commits of the installation's chain.

use std::{sync::Arc, time::Duration};

use keyside_store::{StorageError, chain::CommitError};
use tokio::{sync::oneshot, time::sleep};

use super::{Chains, Priority};
use crate::record::Draft;

/// The records of one caller.
pub(super) struct WaitingRecords {
    drafts: Vec<Draft>,
    answer: oneshot::Sender<Result<(), CommitError>>,
}

impl Chains {
    /// Commits records to the installation's chain that change no document: all of them in one
    /// commit, which they share with those of the next few milliseconds. On disk when this returns.
    pub(crate) async fn append_records(
        self: &Arc<Self>,
        drafts: Vec<Draft>,
    ) -> Result<(), CommitError> {
        let (answer, done) = oneshot::channel();
        let leads = {
            let mut waiting = self.waiting.lock();
            waiting.push(WaitingRecords { drafts, answer });
            waiting.len() == 1
        };
        if leads {
            let chains = self.clone();
            tokio::spawn(async move {
                sleep(BATCH_WINDOW).await;
                chains.write_records().await;
            });
        }
        // The task that commits them was ended at some step.
        done.await.unwrap_or_else(|_| {
            let seq = self.installation.state().map_or(0, |own| own.head.seq);
            Err(CommitError::OutcomeUnknown {
                seq: seq + 1,
                error: StorageError::unavailable("the process is stopping"),
            })
        })
    }

    async fn write_records(&self) {
        let _changing = self.installation.lock(Priority::Normal).await;
        let waiting = std::mem::take(&mut *self.waiting.lock());
        let drafts: Vec<_> = waiting.iter().flat_map(|it| it.drafts.clone()).collect();
        let commit = self.commit_to_installation(|_| (drafts.clone(), Vec::new()));
        let outcome = commit.await;
        for WaitingRecords { answer, .. } in waiting {
            // The caller may have stopped waiting.
            let _ = answer.send(outcome.clone());
        }
    }
}

/// How long records are collected for one commit.
const BATCH_WINDOW: Duration = Duration::from_millis(50);
