//! What is in a backup, one thing after the other, in postcard's form.

use serde::{Deserialize, Serialize};

use crate::storage::Log;

/// One thing. The keyring comes first.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Item {
    /// The keyring's file, wrapped keys and all.
    Keyring(Vec<u8>),
    /// The file with the owner's token, where there was one.
    OwnerToken(Vec<u8>),
    /// A document as it stood in storage.
    Document {
        key: String,
        revision: u64,
        body: Vec<u8>,
    },
    /// An entry of a log.
    Entry {
        log: LogName,
        position: u64,
        entry: Vec<u8>,
    },
}

/// A log's name as it is stored, apart from the type that may get more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LogName {
    Audit,
    Runs,
}

impl From<Log> for LogName {
    fn from(log: Log) -> Self {
        match log {
            Log::Audit => Self::Audit,
            Log::Runs => Self::Runs,
        }
    }
}

impl From<LogName> for Log {
    fn from(log: LogName) -> Self {
        match log {
            LogName::Audit => Self::Audit,
            LogName::Runs => Self::Runs,
        }
    }
}

impl Item {
    /// About how much room it takes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Keyring(bytes) | Self::OwnerToken(bytes) => bytes.len(),
            Self::Document { body, .. } => body.len(),
            Self::Entry { entry, .. } => entry.len(),
        }
    }
}

/// The plaintext of a chunk. Wiped: an owner's token may be in it.
pub(super) fn write(items: &[Item]) -> zeroize::Zeroizing<Vec<u8>> {
    let room = items.iter().map(|item| item.len() + 64).sum::<usize>() + 8;
    let bytes = postcard::to_extend(items, Vec::with_capacity(room));
    bytes
        .expect("numbers and bytes of known length serialize")
        .into()
}

pub(super) fn read(chunk: &[u8]) -> Option<Vec<Item>> {
    postcard::from_bytes(chunk).ok()
}
