//! Moves the oldest commits of a tail to a segment.
//!
//! A segment is written in the background while the tail has space for more commits, so that no
//! change waits until its file and folder are on disk.
//!
//! While a segment cannot be written and the tail is full, only commits that end a use of a key are
//! made. Each makes room for itself by merging two objects of the tail. An object never holds
//! commits of two segments, so segments are the same as without merging.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{
    Chain, CommitError, Head, LoadError, ObjectRef, SegmentRef, State,
    head::MAX_TAIL,
    record::{Batch, Segment},
};
use crate::hash::Hash;

/// The segment that this process wrote last: on disk, and perhaps not yet named by a head.
#[derive(Clone, Copy)]
pub(super) struct Archived {
    /// The segment before it.
    after: Option<SegmentRef>,
    /// The object of the tail with the last commit in it.
    last: ObjectRef,
    segment: SegmentRef,
}

/// Locked while a segment is written, because a file must not have two writers.
pub(super) type LastArchived = Arc<Mutex<Option<Archived>>>;

/// The earlier commits that a new head names.
#[derive(Default)]
pub(super) struct Tail {
    pub(super) objects: Vec<ObjectRef>,
    /// The segment with the commits before them.
    pub(super) segment: Option<SegmentRef>,
}

impl Archived {
    /// What the next head keeps of this head's tail, if the segment holds the oldest commits in it.
    fn tail_after(&self, head: &Head) -> Option<Tail> {
        let last = head.tail.iter().position(|object| *object == self.last)?;
        (self.after == head.segment).then(|| Tail {
            objects: head.tail[last + 1..].to_vec(),
            segment: Some(self.segment),
        })
    }
}

impl Chain {
    /// The earlier commits that the head after `head` names. If the tail is full, its oldest commits
    /// are on disk in a segment when this returns.
    pub(super) async fn next_tail(&self, head: &Head) -> Result<Tail, CommitError> {
        let unchanged = || Tail {
            objects: head.tail.clone(),
            segment: head.segment,
        };
        let is_full = head.tail.len() >= MAX_TAIL;
        let mut last = match is_full {
            true => self.last_archived.lock().await,
            false => match self.last_archived.try_lock() {
                Ok(last) => last,
                // It is being written, and the tail has space.
                Err(_) => return Ok(unchanged()),
            },
        };
        if let Some(next) = last.and_then(|last| last.tail_after(head)) {
            return Ok(next);
        }
        if !is_full {
            return Ok(unchanged());
        }
        let written = last.insert(self.write_segment(head).await?);
        let next = written.tail_after(head);
        Ok(next.expect("the segment was made of this tail"))
    }

    /// The first two neighbouring objects of a tail whose commits belong to one segment: the position
    /// of the first, and the commits of both. `None` if every object is full.
    pub(super) async fn mergeable(
        &self,
        head: &Head,
    ) -> Result<Option<(usize, Vec<Batch>)>, LoadError> {
        let objects = self.batches(&head.tail).await?;
        let mut pairs = objects.windows(2).map(|pair| pair.concat()).enumerate();
        Ok(pairs.find(|(_, batches)| batches.len() <= SEGMENT_COMMITS))
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
        if last.is_some_and(|last| last.tail_after(&state.head).is_some()) {
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
        let (mut batches, mut objects) = (Vec::new(), 0);
        for of_object in self.batches(oldest).await? {
            if batches.len() < SEGMENT_COMMITS {
                batches.extend(of_object);
                objects += 1;
            }
        }
        let segment = Segment {
            number: head.segment.map_or(0, |last| last.number) + 1,
            previous: head.segment.map(|last| last.hash),
            batches,
        };
        let bytes = segment.to_bytes();
        let put = self
            .archive
            .put_new(self.name.as_str(), segment.number, &bytes);
        put.await.map_err(CommitError::NotBegun)?;
        Ok(Archived {
            after: head.segment,
            last: oldest[objects - 1],
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
