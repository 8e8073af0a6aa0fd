//! Verifies all records of a chain, from the first one on.

use super::{
    Chain, Head,
    record::{Batch, Segment},
};
use crate::{error::StorageError, hash::Hash};

/// The first record of a chain that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// Position of the record, from 1.
    pub position: u64,
    /// What is wrong with it, as the predicate of a sentence.
    pub finding: &'static str,
}

impl Chain {
    /// Reads all records up to a head and checks them against it. Returns their number, or the
    /// first one that is damaged.
    ///
    /// # Errors
    /// The backend's. Damage is part of the result.
    pub async fn verify(&self, head: &Head) -> Result<Result<u64, Break>, StorageError> {
        // Reads the tail first, because the next commit may delete its objects. Segments are never
        // deleted.
        let tail = self.tail(head).await;
        let mut verifier = RecordVerifier::default();
        let last = head.segment.map_or(0, |last| last.number);
        for number in 1..=last {
            let bytes = self.archive.get(self.name.as_str(), number).await?;
            if let Err(broken) = verifier.segment(number, bytes.as_deref()) {
                return Ok(Err(broken));
            }
        }
        let tail = match tail {
            Ok(tail) => Some(tail),
            Err(error) => error.into_damage().map(|_| None)?,
        };
        Ok(verifier.finish(head, tail.as_deref()))
    }
}

/// The position and hashes up to which the chain is verified.
#[derive(Default)]
struct RecordVerifier {
    records: u64,
    hash: Hash,
    segment_hash: Option<Hash>,
    /// Number of records before the last segment.
    segment_begins: u64,
}

impl RecordVerifier {
    fn segment(&mut self, number: u64, bytes: Option<&[u8]>) -> Result<(), Break> {
        let bytes = bytes.ok_or_else(|| self.next("is missing"))?;
        let segment = Segment::parse(bytes).filter(|segment| segment.number == number);
        let segment = segment.ok_or_else(|| self.next("cannot be read"))?;
        if segment.previous != self.segment_hash {
            return Err(self.in_last_segment("or one soon after it was edited"));
        }
        self.segment_begins = self.records;
        self.batches(&segment.batches)?;
        self.segment_hash = Some(Hash::of(bytes));
        Ok(())
    }

    /// Verifies the tail, `None` if it is damaged, and that all records lead to the head.
    fn finish(mut self, head: &Head, tail: Option<&[Batch]>) -> Result<u64, Break> {
        if self.segment_hash != head.segment.map(|last| last.hash) {
            return Err(self.in_last_segment("or one after it was edited"));
        }
        let tail = tail.ok_or_else(|| self.next("is gone or was edited, or one soon after it"))?;
        self.batches(tail)?;
        match self.records == head.records && self.hash == head.hash {
            true => Ok(self.records),
            false => Err(self.next("is not what the head says")),
        }
    }

    fn batches(&mut self, batches: &[Batch]) -> Result<(), Break> {
        for batch in batches {
            if batch.before != self.records || batch.previous != self.hash {
                return Err(self.next("does not follow the one before it"));
            }
            (self.records, self.hash) = (batch.end(), batch.hash());
        }
        Ok(())
    }

    fn next(&self, finding: &'static str) -> Break {
        Break {
            position: self.records + 1,
            finding,
        }
    }

    fn in_last_segment(&self, finding: &'static str) -> Break {
        Break {
            position: self.segment_begins + 1,
            finding,
        }
    }
}
