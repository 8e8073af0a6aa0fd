//! Verifies all records of a chain, from the first one on.

use std::fmt;

use super::{Chain, Head, LoadError, record::Segment};
use crate::{error::StorageError, hash::Hash};

/// The first record of a chain that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// Position of the record, from 1.
    pub position: u64,
    /// What is wrong with it, as the predicate of a sentence.
    pub finding: &'static str,
}

/// The result of verifying a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Number of intact records: all, or those before the first damaged one.
    pub records: u64,
    /// The first damaged record.
    pub broken: Option<Break>,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} {}", self.position, self.finding)
    }
}

impl Chain {
    /// Reads all records up to a head and checks them against it.
    ///
    /// # Errors
    /// The backend's. Damage is part of the result.
    pub async fn verify(&self, head: &Head) -> Result<Verified, StorageError> {
        // Reads the tail first, because the next commit may delete its objects. Segments are never
        // deleted.
        let tail = self.tail(head).await;
        let mut verifier = RecordVerifier::default();
        let last = head.segment.map_or(0, |last| last.number);
        for number in 1..=last {
            let bytes = self.archive.get(self.name.as_str(), number).await?;
            if let Err(broken) = verifier.segment(number, bytes.as_deref()) {
                return Ok(verifier.broken(broken));
            }
        }
        if verifier.segment_hash != head.segment.map(|last| last.hash) {
            let finding = "or one after it was edited";
            let position = verifier.segment_begins + 1;
            return Ok(verifier.broken(Break { position, finding }));
        }
        let batches = match tail {
            Ok(batches) => batches,
            Err(LoadError::Storage(error)) => return Err(error),
            Err(LoadError::Damaged(_)) => {
                let broken = verifier.next("is gone or was edited, or one soon after it");
                return Ok(verifier.broken(broken));
            }
        };
        for batch in batches {
            if batch.before != verifier.records || batch.previous != verifier.hash {
                let broken = verifier.next("does not follow the one before it");
                return Ok(verifier.broken(broken));
            }
            (verifier.records, verifier.hash) = (batch.end(), batch.hash());
        }
        if verifier.records != head.records || verifier.hash != head.hash {
            let broken = verifier.next("is not what the head says");
            return Ok(verifier.broken(broken));
        }
        Ok(Verified {
            records: verifier.records,
            broken: None,
        })
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
            return Err(Break {
                position: self.segment_begins + 1,
                finding: "or one soon after it was edited",
            });
        }
        self.segment_begins = self.records;
        for batch in &segment.batches {
            if batch.before != self.records || batch.previous != self.hash {
                return Err(self.next("does not follow the one before it"));
            }
            (self.records, self.hash) = (batch.end(), batch.hash());
        }
        self.segment_hash = Some(Hash::of(bytes));
        Ok(())
    }

    fn next(&self, finding: &'static str) -> Break {
        Break {
            position: self.records + 1,
            finding,
        }
    }

    fn broken(&self, broken: Break) -> Verified {
        Verified {
            records: broken.position - 1,
            broken: Some(broken),
        }
    }
}
