//! Moves the oldest commits of a tail to a segment.
//!
//! A segment is written in the background while the tail has space for more commits, so that no
//! change waits until its file and folder are on disk.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{
    Chain, CommitError, Head, ObjectRef, SegmentRef, State, head::MAX_TAIL, record::Segment,
};
use crate::hash::Hash;

/// The segment that this process wrote last: on disk, and perhaps not yet named by a head.
#[derive(Clone, Copy)]
pub(super) struct Archived {
    /// The segment before it.
    after: Option<SegmentRef>,
    /// The last commit in it.
    last: ObjectRef,
    segment: SegmentRef,
}

/// Locked while a segment is written, because a file must not have two writers.
pub(super) type LastArchived = Arc<Mutex<Option<Archived>>>;

impl Archived {
    /// Whether it holds the oldest commits of the head's tail.
    fn continues(&self, head: &Head) -> bool {
        self.after == head.segment && head.tail.get(SEGMENT_COMMITS - 1) == Some(&self.last)
    }
}

impl Chain {
    /// The earlier commits that the head after `head` names, and its last segment. If the tail is
    /// full, its oldest commits are on disk in a segment when this returns.
    pub(super) async fn next_tail(
        &self,
        head: &Head,
    ) -> Result<(Vec<ObjectRef>, Option<SegmentRef>), CommitError> {
        let unchanged = || Ok((head.tail.clone(), head.segment));
        let is_full = head.tail.len() >= MAX_TAIL;
        let mut last = match is_full {
            true => self.last_archived.lock().await,
            false => match self.last_archived.try_lock() {
                Ok(last) => last,
                // It is being written, and the tail has space.
                Err(_) => return unchanged(),
            },
        };
        let segment = match last.filter(|last| last.continues(head)) {
            Some(ready) => ready.segment,
            None if !is_full => return unchanged(),
            None => last.insert(self.write_segment(head).await?).segment,
        };
        Ok((head.tail[SEGMENT_COMMITS..].to_vec(), Some(segment)))
    }

    /// Begins to write the next segment, if the tail of a state that is on disk has enough commits.
    /// A failure is left to the commit that needs the segment.
    pub(super) fn archive_ahead(&self, state: &Arc<State>) {
        if state.head.tail.len() < SEGMENT_COMMITS {
            return;
        }
        let Ok(mut last) = self.last_archived.clone().try_lock_owned() else {
            return;
        };
        if last.is_some_and(|last| last.continues(&state.head)) {
            return;
        }
        let (chain, state) = (self.with_empty_cache(), state.clone());
        tokio::spawn(async move {
            match chain.write_segment(&state.head).await {
                Ok(written) => *last = Some(written),
                Err(error) => {
                    tracing::debug!(chain = %chain.name, %error, "a segment could not be written ahead");
                }
            }
        });
    }

    /// Writes the oldest commits of a head that is on disk as a segment. They are always of the
    /// same number, so concurrent writers write identical segments.
    async fn write_segment(&self, head: &Head) -> Result<Archived, CommitError> {
        let oldest = &head.tail[..SEGMENT_COMMITS];
        let segment = Segment {
            number: head.segment.map_or(0, |last| last.number) + 1,
            previous: head.segment.map(|last| last.hash),
            batches: self.batches(oldest).await?,
        };
        let bytes = segment.to_bytes();
        let put = self
            .archive
            .put_new(self.name.as_str(), segment.number, &bytes);
        put.await.map_err(CommitError::NotBegun)?;
        Ok(Archived {
            after: head.segment,
            last: oldest[SEGMENT_COMMITS - 1],
            segment: SegmentRef {
                number: segment.number,
                hash: Hash::of(&bytes),
            },
        })
    }
}

/// Commits in a segment. The tail takes [`MAX_TAIL`], so a segment has the time of eight commits to
/// be written.
const SEGMENT_COMMITS: usize = 24;
