//! What is in a backup, one thing after the other, in postcard's form.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::storage::Log;

/// One thing. The keyring comes first.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Item {
    /// The keyring's file, wrapped keys and all.
    Keyring(Vec<u8>),
    /// The file with the owner's token, where there was one.
    OwnerToken(Zeroizing<Vec<u8>>),
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
    /// How much room it takes, but for 64 bytes at most.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Keyring(bytes) => bytes.len(),
            Self::OwnerToken(bytes) => bytes.len(),
            Self::Document { key, body, .. } => key.len() + body.len(),
            Self::Entry { entry, .. } => entry.len(),
        }
    }
}

/// The plaintext of a chunk. Wiped: an owner's token may be in it. Room is made for all of it at once, because a buffer that
/// grows leaves its shorter self behind unwiped.
pub(super) fn write(items: &[Item]) -> Zeroizing<Vec<u8>> {
    let room = items.iter().map(|item| item.len() + 64).sum::<usize>() + 8;
    let bytes = postcard::to_extend(items, Vec::with_capacity(room));
    bytes
        .expect("numbers and bytes of known length serialize")
        .into()
}

pub(super) fn read(chunk: &[u8]) -> Option<Vec<Item>> {
    postcard::from_bytes(chunk).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_with_the_owners_token_never_grows() {
        let items = [
            Item::OwnerToken(b"ks_secret".to_vec().into()),
            Item::Document {
                key: "k".repeat(200),
                revision: u64::MAX,
                body: Vec::new(),
            },
        ];
        let chunk = write(&items);
        let room = items.iter().map(|item| item.len() + 64).sum::<usize>() + 8;
        assert_eq!(chunk.capacity(), room);
        assert!(chunk.len() <= room);
        assert_eq!(read(&chunk).unwrap(), items);
    }
}
