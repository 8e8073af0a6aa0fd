//! The head of a chain: the only object that is overwritten, and the root from which all others are
//! reached.
//!
//! Stored as one byte for the format, the fields in postcard encoding, and an Ed25519 signature
//! over both, the installation id and the chain's name.

use serde::{Deserialize, Serialize};

use super::{ChainName, Damage};
use crate::{
    hash::Hash,
    signing::{PublicKey, Signature, Signer, TrustedKeys},
};

/// The current state of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many times the installation was restored from a backup.
    pub epoch: u64,
    /// Incarnation of the chain's workspace: increases when a workspace is created again after it
    /// was erased.
    pub incarnation: u64,
    /// Number of commits so far, including this one.
    pub seq: u64,
    /// Time of the commit, in microseconds since the Unix epoch.
    pub at: i64,
    /// Number of records so far.
    pub records: u64,
    /// The chain hash after the last record.
    pub hash: Hash,
    /// Pages of the map, in order of their names; empty if there are more than 64, which are listed
    /// in `index`.
    pub pages: Vec<ObjectRef>,
    /// An object that lists the pages, if there are more than 64.
    pub index: Option<ObjectRef>,
    /// Objects with the newest commits, oldest first; at most 32. Each holds one commit, or several
    /// while their segment cannot be written.
    pub tail: Vec<ObjectRef>,
    /// The segment with the commits before `tail`.
    pub segment: Option<SegmentRef>,
    /// The installation's head that the commit was decided on.
    pub decided_on: Option<Link>,
}

/// Refers to an object by the sequence number of its commit and the hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Sequence number of the commit that wrote it.
    pub seq: u64,
    /// SHA-256 of its bytes, salt included.
    pub hash: Hash,
}

/// Refers to a segment by its number and the hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// Number, from 1.
    pub number: u64,
    /// SHA-256 of its bytes.
    pub hash: Hash,
}

/// Identifies one state of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// How many times the installation was restored from a backup.
    pub epoch: u64,
    /// Sequence number of the commit.
    pub seq: u64,
    /// Number of records up to it.
    pub records: u64,
    /// The chain hash after the last of them.
    pub hash: Hash,
}

impl Head {
    /// Maximum length of a stored head, in bytes. Every backend can write this much at once.
    pub const MAX_LEN: usize = 4096;

    /// The link to this state.
    pub fn link(&self) -> Link {
        Link {
            epoch: self.epoch,
            seq: self.seq,
            records: self.records,
            hash: self.hash,
        }
    }

    /// Encodes and signs the head, as it is stored.
    pub fn sign(&self, chain: &ChainName, installation: &str, key: &dyn Signer) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes = postcard::to_extend(self, bytes).expect("numbers and hashes serialize");
        let signature = key.sign(&message(chain, installation, &bytes));
        bytes.extend_from_slice(signature.as_bytes());
        // The state of every chain keeps its head's bytes.
        bytes.shrink_to_fit();
        bytes
    }

    /// Decodes a head and verifies that `key` signed it for this chain of this installation.
    ///
    /// # Errors
    /// The damage found.
    pub fn verify(
        bytes: &[u8],
        chain: &ChainName,
        installation: &str,
        key: &PublicKey,
    ) -> Result<Self, Damage> {
        let verified = Self::verify_under(bytes, chain, installation, &TrustedKeys::from(*key));
        verified.map(|(head, _)| head)
    }

    /// Like [`Self::verify`], with any key of `trust`. Returns the key that signed, too.
    ///
    /// # Errors
    /// The damage found.
    pub fn verify_under(
        bytes: &[u8],
        chain: &ChainName,
        installation: &str,
        trust: &TrustedKeys,
    ) -> Result<(Self, PublicKey), Damage> {
        let head = Self::parse_unverified(bytes)?;
        let (signed, signature) = bytes.split_last_chunk().ok_or(Damage::HeadUnreadable)?;
        let signature = Signature::from(*signature);
        let signer = trust.signer(&message(chain, installation, signed), &signature);
        signer
            .map(|signer| (head, signer))
            .ok_or(Damage::HeadForged)
    }

    /// Decodes a head without verifying its signature.
    ///
    /// # Errors
    /// The bytes are not a head that this release can read.
    pub fn parse_unverified(bytes: &[u8]) -> Result<Self, Damage> {
        let (signed, _) = bytes
            .split_last_chunk::<64>()
            .ok_or(Damage::HeadUnreadable)?;
        match signed {
            [FORMAT, fields @ ..] => {
                postcard::from_bytes(fields).map_err(|_| Damage::HeadUnreadable)
            }
            [format, ..] => Err(Damage::HeadNewer { format: *format }),
            [] => Err(Damage::HeadUnreadable),
        }
    }
}

fn message(chain: &ChainName, installation: &str, bytes: &[u8]) -> Vec<u8> {
    // NUL is a safe separator: ids and chain names cannot contain it.
    let context = format!("keyside head\0{installation}\0{chain}\0");
    [context.as_bytes(), bytes].concat()
}

/// First byte of a stored head.
const FORMAT: u8 = 1;
/// Maximum number of pages that a head lists itself.
pub(super) const MAX_HEAD_PAGES: usize = 64;
/// Maximum number of objects in a head's tail.
pub(super) const MAX_TAIL: usize = 32;
