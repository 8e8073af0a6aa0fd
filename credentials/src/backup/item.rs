//! What is in a backup, one thing after the other, in postcard's form.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// One thing. The keyring comes first, and a chain's head after all that it names.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Item {
    /// The keyring's file, wrapped keys and all.
    Keyring(Vec<u8>),
    /// The file with the owner's token, where there was one.
    OwnerToken(Zeroizing<Vec<u8>>),
    /// An object as it stood in storage.
    Object { key: String, bytes: Vec<u8> },
    /// A segment of a chain.
    Segment {
        chain: String,
        number: u64,
        bytes: Vec<u8>,
    },
    /// The head of a chain, as it was signed.
    Head { chain: String, bytes: Vec<u8> },
    /// A block of runs.
    Runs(Vec<u8>),
}

impl Item {
    /// How much room it takes, but for 64 bytes at most.
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
            Item::Object {
                key: "k".repeat(200),
                bytes: Vec::new(),
            },
        ];
        let chunk = write(&items);
        let room = items.iter().map(|item| item.len() + 64).sum::<usize>() + 8;
        assert_eq!(chunk.capacity(), room);
        assert!(chunk.len() <= room);
        assert_eq!(read(&chunk).unwrap(), items);
    }
}
