//! The items in a backup, serialized with postcard.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// An item. The keyring comes first, and a chain's head after all objects that it names.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Item {
    /// The keyring file with its wrapped keys.
    Keyring(Vec<u8>),
    /// The owner token's file, if there was one.
    OwnerToken(Zeroizing<Vec<u8>>),
    /// An object of the store.
    Object { key: String, bytes: Vec<u8> },
    /// A segment of a chain.
    Segment {
        chain: String,
        number: u64,
        bytes: Vec<u8>,
    },
    /// The signed head of a chain.
    Head { chain: String, bytes: Vec<u8> },
    /// A block of run records.
    Runs(Vec<u8>),
}

impl Item {
    /// Serialized size, to within 64 bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Keyring(bytes) | Self::Runs(bytes) => bytes.len(),
            Self::OwnerToken(bytes) => bytes.len(),
            Self::Object { key: name, bytes }
            | Self::Segment {
                chain: name, bytes, ..
            }
            | Self::Head { chain: name, bytes } => name.len() + bytes.len(),
        }
    }
}

/// The plaintext of a chunk. It may contain the owner token, so it is wiped when dropped, and
/// allocated at full size: a buffer that grows leaves an unwiped copy in freed memory.
pub(super) fn write(items: &[Item]) -> Zeroizing<Vec<u8>> {
    let capacity = items.iter().map(|item| item.len() + 64).sum::<usize>() + 8;
    let bytes = postcard::to_extend(items, Vec::with_capacity(capacity));
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
    fn the_buffer_with_the_owner_token_is_never_reallocated() {
        let items = [
            Item::OwnerToken(b"ks_secret".to_vec().into()),
            Item::Object {
                key: "k".repeat(200),
                bytes: Vec::new(),
            },
        ];
        let chunk = write(&items);
        let capacity = items.iter().map(|item| item.len() + 64).sum::<usize>() + 8;
        assert_eq!(chunk.capacity(), capacity);
        assert!(chunk.len() <= capacity);
        assert_eq!(read(&chunk).unwrap(), items);
    }
}
