//! Reading the chain: what is there, what is missing, and which record is the first that is not what was written.

use std::{fmt, path::PathBuf};

use super::{Record, record::Unread};
use crate::{
    KeyringError, KmsError,
    authentic::Hash,
    sealing::SealingKey,
    storage::{Log, Storage, StorageError, StoreOpenError},
};

/// Where the log ends: the position of its last record and that record's hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Head {
    /// 0 while the log is empty.
    pub position: u64,
    /// SHA-256 of the last record's JSON.
    pub hash: Hash,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.position, self.hash)
    }
}

/// A record that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// Its position.
    pub position: u64,
    /// What is wrong with it.
    pub finding: &'static str,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "audit record {} {}", self.position, self.finding)
    }
}

/// Why the log was not confirmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is not what was written.
    #[error("{0}")]
    Broken(Break),
    /// This release does not know all that it may say.
    #[error(
        "audit record {position} was written by a later release of Keyside: check the log with that one"
    )]
    Newer {
        /// The first such record.
        position: u64,
    },
    /// The receipt's MAC is not this installation's.
    #[error("this installation did not give the receipt out, or it was changed since")]
    ReceiptForeign,
    /// The installation's own, and its log holds another record there or none.
    #[error(
        "the audit log does not tell of that erasing: it was put back to a state from before, and the workspace may be \
         back with it"
    )]
    ReceiptNotInLog,
    /// It could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The keyring has the key that authenticates it.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// What unwraps that key.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// The store cannot be opened: another process serves it.
    #[error(transparent)]
    Store(#[from] StoreOpenError),
    /// The folder is none that Keyside has served, or not all of it.
    #[error("there is no {}", path.display())]
    NothingThere {
        /// What is missing.
        path: PathBuf,
    },
}

impl VerifyError {
    /// Whether it says what is wrong, and not what kept it from being found out.
    pub fn is_finding(&self) -> bool {
        matches!(
            self,
            Self::Broken(_) | Self::ReceiptForeign | Self::ReceiptNotInLog
        )
    }
}

/// What reading the log gave.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) head: Head,
    first_break: Option<Break>,
    /// The position of the last record that is not what was written, 0 if all are.
    pub(crate) last_break: u64,
    /// Heads that it once had, as far as is known.
    known: Vec<Head>,
    /// Where it is not the log that had them: cut, or another one in its place, in itself without a fault.
    pub(crate) replaced: Option<Break>,
    /// The position of the first record that only a later release can read.
    pub(crate) newer: Option<u64>,
}

impl Scan {
    /// The first record that is not what was written.
    pub(crate) fn first_break(&self) -> Option<Break> {
        let found = [self.first_break.clone(), self.replaced.clone()];
        found
            .into_iter()
            .flatten()
            .min_by_key(|found| found.position)
    }

    fn broken(&mut self, position: u64, finding: &'static str) {
        self.last_break = self.last_break.max(position);
        self.first_break.get_or_insert(Break { position, finding });
    }

    fn take(&mut self, key: &SealingKey, position: u64, entry: &[u8]) -> Option<Record> {
        let expected = self.head.position + 1;
        if position != expected {
            // Named is the first that is gone; none of those before `position` is there.
            self.broken(expected, "is missing");
            self.broken(position - 1, "is missing");
        }
        let before = self.head.hash;
        let read = Record::from_entry(key, position, entry);
        let hash = match &read {
            Ok((_, hash)) | Err(Unread::Newer(hash)) => *hash,
            Err(Unread::Edited(_)) => Record::hash_of(entry),
        };
        self.head = Head { position, hash };
        match read {
            Ok((record, _)) => {
                self.recognise();
                if record.previous != before && self.last_break + 1 < position {
                    self.broken(position, "does not follow the one before it");
                }
                Some(record)
            }
            Err(Unread::Newer(_)) => {
                self.recognise();
                self.newer.get_or_insert(position);
                None
            }
            Err(Unread::Edited(finding)) => {
                self.broken(position, finding);
                None
            }
        }
    }

    /// Holds the record that was just read against what is known of its place.
    fn recognise(&mut self) {
        let Head { position, hash } = self.head;
        let of_place = |known: &&Head| known.position == position;
        if self
            .known
            .iter()
            .find(of_place)
            .is_some_and(|known| known.hash != hash)
        {
            let finding = "is another than the one that was here";
            self.replaced.get_or_insert(Break { position, finding });
        }
    }

    fn end(&mut self) {
        let next = self.head.position + 1;
        if self.known.iter().any(|known| known.position >= next) {
            self.replaced.get_or_insert(Break {
                position: next,
                finding: "is missing, and so are all after it",
            });
        }
    }
}

/// Reads all entries behind `from`; `visit` sees those that are authentic. `known` are heads that the log once had.
pub(super) async fn scan(
    storage: &dyn Storage,
    key: &SealingKey,
    from: Head,
    known: Vec<Head>,
    mut visit: impl FnMut(Record),
) -> Result<Scan, StorageError> {
    let mut scan = Scan {
        head: from,
        known,
        ..Scan::default()
    };
    loop {
        let entries = storage
            .entries(Log::Audit, scan.head.position + 1, BATCH)
            .await?;
        for (position, entry) in &entries {
            if let Some(record) = scan.take(key, *position, entry) {
                visit(record);
            }
        }
        if entries.len() < BATCH {
            scan.end();
            return Ok(scan);
        }
    }
}

const BATCH: usize = 1024;
