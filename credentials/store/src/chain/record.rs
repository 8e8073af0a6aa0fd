//! Records: batches of one commit each, in the objects of the head's tail, and segments of older
//! batches.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Chain, Damage, Head, LoadError, ObjectRef, SegmentRef, head::Link};
use crate::hash::Hash;

/// The records of one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) seq: u64,
    pub(super) at: i64,
    /// Number of records before this batch.
    pub(super) before: u64,
    /// The chain hash before this batch.
    pub(super) previous: Hash,
    #[serde(with = "byte_strings")]
    pub(super) records: Vec<Vec<u8>>,
}

/// Copies each record at once: to serde, a `Vec<u8>` is a sequence of numbers. The encoding is the
/// same.
mod byte_strings {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    struct ByteString<'a>(&'a [u8]);

    impl Serialize for ByteString<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }

    pub(super) fn serialize<S: Serializer>(
        records: &[Vec<u8>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(records.iter().map(|record| ByteString(record)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Vec<u8>>, D::Error> {
        let records = Vec::<&[u8]>::deserialize(deserializer)?;
        Ok(records.into_iter().map(<[u8]>::to_vec).collect())
    }
}

/// Batches that the head no longer names, oldest first.
/// [`Segment::previous_in`] reads its first two fields alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Hash of the previous segment.
    pub(super) previous: Option<Hash>,
    pub(super) batches: Vec<Batch>,
}

/// A record and its position in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Position in the chain: from 1, without gaps.
    pub position: u64,
    /// Sequence number of its commit.
    pub seq: u64,
    /// Time of its commit, in microseconds since the Unix epoch.
    pub at: i64,
    /// The chain hash before this record.
    pub previous: Hash,
    /// The chain hash after this record.
    pub hash: Hash,
    /// The record's contents.
    pub bytes: Vec<u8>,
}

impl Batch {
    pub(super) fn end(&self) -> u64 {
        self.before + self.records.len() as u64
    }

    /// The chain hash after the batch's last record.
    pub(super) fn hash(&self) -> Hash {
        let records = self.records.iter();
        records.fold(self.previous, |hash, record| {
            hash.followed_by(Hash::of(record))
        })
    }

    pub(super) fn stored(self) -> impl Iterator<Item = StoredRecord> {
        let (seq, at) = (self.seq, self.at);
        let numbered = (self.before + 1..).zip(self.records);
        numbered.scan(self.previous, move |hash, (position, bytes)| {
            let previous = *hash;
            *hash = previous.followed_by(Hash::of(&bytes));
            Some(StoredRecord {
                position,
                seq,
                at,
                previous,
                hash: *hash,
                bytes,
            })
        })
    }
}

impl Segment {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let segment: Self = postcard::from_bytes(bytes).ok()?;
        (!segment.batches.is_empty()).then_some(segment)
    }

    /// The hash of the segment before the one with these contents.
    fn previous_in(bytes: &[u8]) -> Option<Hash> {
        let (begin, _) = postcard::take_from_bytes::<(u64, Option<Hash>)>(bytes).ok()?;
        begin.1
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, Vec::new()).expect("numbers and bytes serialize")
    }

    /// Number of records before the segment.
    fn before(&self) -> u64 {
        self.batches[0].before
    }
}

/// The tail and the segment positions read last: someone who reads a log usually reads the
/// neighbouring records next.
#[derive(Default)]
pub(super) struct ReadCache {
    /// The tail, with the chain hash it leads to.
    tail: Option<(Hash, Arc<Vec<Batch>>)>,
    segment: Option<(SegmentRef, Arc<Segment>)>,
    /// Number of records before a segment, by the segment's hash.
    before: HashMap<Hash, u64>,
}

/// Appends the records from position `from` on to `found`, up to `limit`.
fn take(batches: &[Batch], from: u64, limit: usize, found: &mut Vec<StoredRecord>) {
    let later = batches.iter().filter(|batch| batch.end() >= from);
    let records = later.flat_map(|batch| batch.clone().stored());
    let wanted = records.filter(|record| record.position >= from);
    found.extend(wanted.take(limit.saturating_sub(found.len())));
}

impl Chain {
    /// Reads up to `limit` records from position `from` on, oldest first.
    ///
    /// # Errors
    /// One of them is damaged, or the backend fails.
    pub async fn records(
        &self,
        head: &Head,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, LoadError> {
        let mut found = Vec::new();
        let from = from.max(1);
        let in_tail = self.cached_tail(head).await?;
        let tail_begins = in_tail.first().map_or(head.records, |batch| batch.before);
        if from <= tail_begins
            && let Some(last) = head.segment
        {
            let mut number = self.segment_of(last, from).await?;
            while number <= last.number && found.len() < limit {
                let segment = self.segment(last, number).await?;
                take(&segment.batches, from, limit, &mut found);
                number += 1;
            }
        }
        take(&in_tail, from, limit, &mut found);
        Ok(found)
    }

    /// The tail of a head, from the cache if it was read last.
    async fn cached_tail(&self, head: &Head) -> Result<Arc<Vec<Batch>>, LoadError> {
        if let Some((_, known)) = self
            .last_read
            .lock()
            .tail
            .as_ref()
            .filter(|(hash, _)| *hash == head.hash)
        {
            return Ok(known.clone());
        }
        let tail = Arc::new(self.tail(head).await?);
        self.last_read.lock().tail = Some((head.hash, tail.clone()));
        Ok(tail)
    }

    /// Drops the records that were read last, a tail and a segment. Call it after reading a log:
    /// there may be thousands of chains. The hashes of segments are kept, because without them the
    /// next reader would have to begin at the last segment.
    pub fn forget_records(&self) {
        let mut last_read = self.last_read.lock();
        (last_read.tail, last_read.segment) = (None, None);
    }

    /// Number of commits whose records are kept from the last read.
    #[cfg(any(test, feature = "contract"))]
    pub fn kept_commits(&self) -> usize {
        let last_read = self.last_read.lock();
        let tail = last_read.tail.as_ref().map_or(0, |(_, tail)| tail.len());
        let segment = last_read.segment.as_ref();
        tail + segment.map_or(0, |(_, segment)| segment.batches.len())
    }

    /// Counts the records for which `is_before` holds: those up to a position, and none after it.
    ///
    /// # Errors
    /// As with [`Self::records`].
    pub async fn records_before(
        &self,
        head: &Head,
        is_before: impl Fn(&StoredRecord) -> bool,
    ) -> Result<u64, LoadError> {
        let (mut low, mut high) = (0, head.records);
        // Binary search for the last of them.
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let record = self.records(head, middle, 1).await?;
            match record.first().is_some_and(&is_before) {
                true => low = middle,
                false => high = middle - 1,
            }
        }
        Ok(low)
    }

    /// Checks that `head` continues the state `known`: that its history contains that state's
    /// records.
    ///
    /// # Errors
    /// [`Damage::Forked`] if it does not, or the backend's failure.
    pub(super) async fn check_leads_on(&self, known: Link, head: &Head) -> Result<(), LoadError> {
        let checked = self.check_records_since(known, head).await;
        self.forget_records();
        checked
    }

    async fn check_records_since(&self, known: Link, head: &Head) -> Result<(), LoadError> {
        let (mut hash, mut position) = (known.hash, known.records);
        while position < head.records {
            let records = self.records(head, position + 1, BATCH_SIZE).await?;
            if records.is_empty() {
                return Err(Damage::Forked.into());
            }
            for record in records {
                if record.previous != hash || record.position != position + 1 {
                    return Err(Damage::Forked.into());
                }
                (hash, position) = (record.hash, record.position);
            }
        }
        match hash == head.hash && position == head.records {
            true => Ok(()),
            false => Err(Damage::Forked.into()),
        }
    }

    /// Reads the batches in the head's tail.
    pub(super) async fn tail(&self, head: &Head) -> Result<Vec<Batch>, LoadError> {
        let batches = self.batches(&head.tail).await?;
        Ok(batches.into_iter().flatten().collect())
    }

    /// Reads the batches in each object of a tail.
    pub(super) async fn batches(&self, named: &[ObjectRef]) -> Result<Vec<Vec<Batch>>, LoadError> {
        let objects = self.objects(named).await?;
        let batches = named.iter().zip(objects).map(|(object, bytes)| {
            let bytes = bytes.ok_or(Damage::CommitGone { seq: object.seq })?;
            read_batches(object, &bytes)
        });
        batches.collect()
    }

    /// Finds the segment that holds the record at `position`, by binary search.
    async fn segment_of(&self, last: SegmentRef, position: u64) -> Result<u64, LoadError> {
        let (mut low, mut high) = (1, last.number);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match self.before(last, middle).await? < position {
                true => low = middle,
                false => high = middle - 1,
            }
        }
        Ok(low)
    }

    /// Number of records before a segment.
    async fn before(&self, last: SegmentRef, number: u64) -> Result<u64, LoadError> {
        let hash = self.segments.lock().get(&number).copied();
        if let Some(before) = hash.and_then(|hash| self.last_read.lock().before.get(&hash).copied())
        {
            return Ok(before);
        }
        let before = self.segment(last, number).await?.before();
        if let Some(hash) = self.segments.lock().get(&number) {
            self.last_read.lock().before.insert(*hash, before);
        }
        Ok(before)
    }

    /// Reads one segment. Follows the links from the last segment, each of which names the hash of
    /// its predecessor.
    async fn segment(&self, last: SegmentRef, wanted: u64) -> Result<Arc<Segment>, LoadError> {
        let mut at = self.known_segment(last, wanted);
        let is_known = |(known, _): &&(SegmentRef, Arc<Segment>)| *known == at;
        if at.number == wanted
            && let Some((_, segment)) = self.last_read.lock().segment.as_ref().filter(is_known)
        {
            return Ok(segment.clone());
        }
        loop {
            let bytes = self.archive.get(self.name.as_str(), at.number).await?;
            let damaged = Damage::Segment { number: at.number };
            let bytes = bytes.filter(|bytes| Hash::of(bytes) == at.hash);
            let bytes = bytes.ok_or(damaged.clone())?;
            if at.number == wanted {
                let segment = Arc::new(Segment::parse(&bytes).ok_or(damaged)?);
                self.last_read.lock().segment = Some((at, segment.clone()));
                return Ok(segment);
            }
            at = SegmentRef {
                number: at.number - 1,
                hash: Segment::previous_in(&bytes).ok_or(damaged)?,
            };
            self.segments.lock().insert(at.number, at.hash);
        }
    }

    /// The nearest segment at or after `wanted` whose hash is known.
    fn known_segment(&self, last: SegmentRef, wanted: u64) -> SegmentRef {
        let mut known = self.segments.lock();
        // The known hash may come from another head.
        if known
            .get(&last.number)
            .is_some_and(|hash| *hash != last.hash)
        {
            known.clear();
        }
        known.insert(last.number, last.hash);
        let nearest = known.range(wanted..=last.number).next();
        nearest.map_or(last, |(number, hash)| SegmentRef {
            number: *number,
            hash: *hash,
        })
    }
}

/// Reads the batches of an object: encoded one after another.
fn read_batches(object: &ObjectRef, mut bytes: &[u8]) -> Result<Vec<Batch>, LoadError> {
    let damage = Damage::CommitGone { seq: object.seq };
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        let Ok((batch, rest)) = postcard::take_from_bytes::<Batch>(bytes) else {
            return Err(damage.into());
        };
        batches.push(batch);
        bytes = rest;
    }
    match batches.is_empty() {
        true => Err(damage.into()),
        false => Ok(batches),
    }
}

/// Records read at a time.
const BATCH_SIZE: usize = 1024;
