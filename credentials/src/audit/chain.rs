//! Reading the chain: what is there, what is missing, and which record is the first that is not what was written.

use std::{fmt, path::PathBuf};

use super::Record;
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

/// What reading the whole log gave.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) head: Head,
    first_break: Option<Break>,
    /// The position of the last record that is not what was written, 0 if all are.
    pub(crate) last_break: u64,
}

impl Scan {
    /// The first record that is not what was written, given heads that were on disk before.
    pub(crate) fn first_break(&self, known: impl IntoIterator<Item = Head>) -> Option<Break> {
        let cut = known
            .into_iter()
            .filter_map(|known| self.cut_before(known))
            .min_by_key(|found| found.position);
        self.first_break
            .clone()
            .into_iter()
            .chain(cut)
            .min_by_key(|found| found.position)
    }

    /// The first record that is gone, if `known` was once the head.
    pub(crate) fn cut_before(&self, known: Head) -> Option<Break> {
        let missing = Break {
            position: self.head.position + 1,
            finding: "is missing, and so are all after it",
        };
        (known.position > self.head.position).then_some(missing)
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
        let before = std::mem::replace(
            &mut self.head,
            Head {
                position,
                hash: Hash::default(),
            },
        );
        let (record, hash) = match Record::from_entry(key, position, entry) {
            Ok(read) => read,
            Err(finding) => {
                self.broken(position, finding);
                self.head.hash = Record::hash_of(entry);
                return None;
            }
        };
        self.head.hash = hash;
        if record.previous != before.hash && self.last_break + 1 < position {
            self.broken(position, "does not follow the one before it");
        }
        Some(record)
    }
}

/// Reads all entries behind `from`; `visit` sees those that are authentic.
pub(super) async fn scan(
    storage: &dyn Storage,
    key: &SealingKey,
    from: Head,
    mut visit: impl FnMut(Record),
) -> Result<Scan, StorageError> {
    let mut scan = Scan {
        head: from,
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
            return Ok(scan);
        }
    }
}

const BATCH: usize = 1024;
