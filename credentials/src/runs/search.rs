//! Finds runs: filters, pages, and the walk through the log that searches and figures share.

use std::{fmt, ops::ControlFlow, str::FromStr};

use jiff::Timestamp;
use keyside_store::StorageError;

use super::{RunKind, Runs, Shared, StoredRun, block::Block};
use crate::model::{CredentialId, Environment, Scope, WorkspaceId};

/// Selects runs; `None` matches all. Texts must match exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// The workspaces that the caller may see.
    pub within: Scope,
    /// Of this workspace.
    pub workspace: Option<WorkspaceId>,
    /// Of this provider.
    pub provider: Option<String>,
    /// With the credential that has this id.
    pub credential: Option<CredentialId>,
    /// With a credential that had this label at that time.
    pub label: Option<String>,
    /// With a credential of this environment.
    pub environment: Option<Environment>,
    /// Of this kind.
    pub kind: Option<RunKind>,
    /// With this id in responses and logs.
    pub request_id: Option<String>,
    /// With this run id of the runner.
    pub run_id: Option<String>,
    /// With this tag of the runner.
    pub tag: Option<String>,
    /// With this status, the upstream's or a refusal's; 0 for runs without a response.
    pub status: Option<u16>,
    /// With this outcome: the name of an [`Outcome`](super::Outcome), a refusal's code, or
    /// [`REFUSED`].
    pub outcome: Option<String>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
}

/// In [`RunFilter::outcome`]: what Keyside refused without forwarding it, whatever the code.
pub const REFUSED: &str = "refused";

/// A run's place in the log. A search continues before it, whatever was recorded meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunPosition {
    block: u64,
    /// Its index in the block.
    row: u32,
}

/// Runs that match, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunPage {
    /// At most as many as asked for.
    pub runs: Vec<StoredRun>,
    /// Where the search stopped because the page is full. Nothing more may match.
    pub next: Option<RunPosition>,
}

impl Runs {
    /// The latest runs that match, newest first; fewer if storage fails. May read all kept records
    /// to find `limit` matches.
    pub async fn search(&self, limit: usize, filter: &RunFilter) -> Vec<StoredRun> {
        self.page(limit, filter, None).await.runs
    }

    /// Like [`Self::search`], for runs that were recorded before the one at `before`.
    pub async fn page(
        &self,
        limit: usize,
        filter: &RunFilter,
        before: Option<RunPosition>,
    ) -> RunPage {
        let mut page = RunPage::default();
        let read = self.shared.read_back(filter, before, |position, run| {
            page.runs.push(run);
            match page.runs.len() < limit {
                true => ControlFlow::Continue(()),
                false => {
                    page.next = Some(position);
                    ControlFlow::Break(())
                }
            }
        });
        if let Err(error) = read.await {
            tracing::warn!(%error, "the run records cannot be read");
        }
        page
    }
}

impl Shared {
    /// Passes runs that match to `visit`, newest first, until it breaks. Reads the log block by
    /// block, so that one block is in memory at a time.
    pub(super) async fn read_back(
        &self,
        filter: &RunFilter,
        before: Option<RunPosition>,
        mut visit: impl FnMut(RunPosition, StoredRun) -> ControlFlow<()> + Send,
    ) -> Result<(), StorageError> {
        let last = self.log.last().await?;
        let mut position = before.map_or(last, |before| before.block.min(last));
        while position > 0 {
            let found = self.log.read(position, 1).await?;
            match found.first().filter(|(at, _)| *at == position) {
                Some((_, block)) => {
                    let end = before.filter(|before| before.block == position);
                    for (row, run) in Block::read(block).numbered_runs().rev() {
                        let is_before = end.is_none_or(|end| row < end.row);
                        let place = RunPosition {
                            block: position,
                            row,
                        };
                        if is_before && filter.passes(&run) && visit(place, run).is_break() {
                            return Ok(());
                        }
                    }
                }
                None => match self.last_block_before(position).await? {
                    Some(before) => {
                        position = before;
                        continue;
                    }
                    None => break,
                },
            }
            position -= 1;
        }
        Ok(())
    }

    /// The position of the last block before `position`; `None` if there is none. A gap, which
    /// damage leaves, may be of any size: nothing authenticates positions.
    async fn last_block_before(&self, position: u64) -> Result<Option<u64>, StorageError> {
        let Some(mut last) = self.first_block(1, position).await? else {
            return Ok(None);
        };
        // Binary search between a block and where no other is.
        let mut end = position;
        while end - last > 1 {
            let middle = last + (end - last) / 2;
            match self.first_block(middle, position).await? {
                Some(later) => last = later,
                None => end = middle,
            }
        }
        Ok(Some(last))
    }

    /// The position of the first block from `from` on, if it is before `end`.
    async fn first_block(&self, from: u64, end: u64) -> Result<Option<u64>, StorageError> {
        let found = self.log.read(from, 1).await?;
        let position = found.first().map(|(position, _)| *position);
        Ok(position.filter(|position| *position < end))
    }
}

impl RunFilter {
    fn passes(&self, run: &StoredRun) -> bool {
        let workspace = self.workspace.as_ref().map(WorkspaceId::as_str);
        let credential = self.credential.as_ref().map(CredentialId::as_str);
        let used = run.used.as_ref();
        let texts = [
            (workspace, Some(&*run.workspace)),
            (self.provider.as_deref(), Some(&*run.provider)),
            (credential, used.map(|used| &*used.credential)),
            (self.label.as_deref(), used.map(|used| &*used.label)),
            (self.request_id.as_deref(), Some(&*run.request_id)),
            (self.run_id.as_deref(), run.run_id.as_deref()),
            (self.tag.as_deref(), run.tag.as_deref()),
        ];
        self.within.holds(&run.workspace)
            && texts
                .iter()
                .all(|(wanted, found)| wanted.is_none() || wanted == found)
            && self
                .environment
                .is_none_or(|wanted| used.is_some_and(|used| used.environment == wanted))
            && self.kind.is_none_or(|kind| kind == run.kind)
            && self.status.is_none_or(|status| status == run.status)
            && self.outcome.as_deref().is_none_or(|wanted| match wanted {
                REFUSED => run.is_refused(),
                outcome => outcome == &*run.outcome,
            })
            && self.since.is_none_or(|since| since <= run.at)
            && self.until.is_none_or(|until| run.at < until)
    }
}

impl fmt::Display for RunPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.block, self.row)
    }
}

impl FromStr for RunPosition {
    type Err = RunPositionError;

    fn from_str(text: &str) -> Result<Self, RunPositionError> {
        let (block, row) = text.split_once('.').ok_or(RunPositionError)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(block) || !digits(row) {
            return Err(RunPositionError);
        }
        Ok(Self {
            block: block.parse().map_err(|_| RunPositionError)?,
            row: row.parse().map_err(|_| RunPositionError)?,
        })
    }
}

/// The text is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a position of a run")]
pub struct RunPositionError;
