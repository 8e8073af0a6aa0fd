//! The head: the only thing that is overwritten, and what everything else is reached from.
//!
//! Stored is the format, the fields in postcard's form, and an Ed25519 signature over both, the installation and the chain.

use serde::{Deserialize, Serialize};

use super::{ChainName, Damage};
use crate::{
    hash::Hash,
    signing::{PublicKey, Signature, Signer, TrustedKeys},
};

/// What is true of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How often the installation was restored from a backup.
    pub epoch: u64,
    /// Which one of its name the chain's workspace is: one that was erased and made again is another one.
    pub incarnation: u64,
    /// How many commits there were, this one included.
    pub seq: u64,
    /// When, in microseconds since the Unix epoch.
    pub at: i64,
    /// How many records there are.
    pub records: u64,
    /// The chain hash after the last of them.
    pub hash: Hash,
    /// The pages of the map, in order of the names in them; none where there are too many.
    pub pages: Vec<ObjectRef>,
    /// The list of the pages then.
    pub index: Option<ObjectRef>,
    /// The newest commits, oldest first; at most 32.
    pub tail: Vec<ObjectRef>,
    /// The last segment of the commits before.
    pub segment: Option<SegmentRef>,
    /// The installation's head that it was decided on.
    pub decided_on: Option<Link>,
}

/// An object, by the commit that it was written for and the hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// The sequence number of that commit.
    pub seq: u64,
    /// SHA-256.
    pub hash: Hash,
}

/// A segment, by its number, from 1, and the hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// Its number.
    pub number: u64,
    /// SHA-256.
    pub hash: Hash,
}

/// A state of a chain, in as few words as tell it from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The epoch.
    pub epoch: u64,
    /// The sequence number.
    pub seq: u64,
    /// How many records there were.
    pub records: u64,
    /// The chain hash.
    pub hash: Hash,
}

impl Head {
    /// The link to this state.
    pub fn link(&self) -> Link {
        Link {
            epoch: self.epoch,
            seq: self.seq,
            records: self.records,
            hash: self.hash,
        }
    }

    /// As it is stored, signed.
    pub fn sign(&self, chain: &ChainName, installation: &str, key: &dyn Signer) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes = postcard::to_extend(self, bytes).expect("numbers and hashes serialize");
        let signature = key.sign(&message(chain, installation, &bytes));
        bytes.extend_from_slice(signature.as_bytes());
        bytes
    }

    /// The head in `bytes`, if `key` has signed it for this chain of this installation.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(
        bytes: &[u8],
        chain: &ChainName,
        installation: &str,
        key: &PublicKey,
    ) -> Result<Self, Damage> {
        let verified = Self::verify_under(bytes, chain, installation, &TrustedKeys::from(*key));
        verified.map(|(head, _)| head)
    }

    /// The same where any key of `trust` may have signed it, and which one has.
    ///
    /// # Errors
    /// What is wrong with it.
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

    /// What `bytes` claim to be, unverified.
    ///
    /// # Errors
    /// When they are no head that this release can read.
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
    // Ids and names are short, and hold no NUL.
    let context = format!("keyside head\0{installation}\0{chain}\0");
    [context.as_bytes(), bytes].concat()
}

const FORMAT: u8 = 1;
/// Pages that a head has room for.
pub(super) const MAX_HEAD_PAGES: usize = 64;
/// Commits that a head names one by one.
pub(super) const MAX_TAIL: usize = 32;
/// Bytes of a head. Any backend takes as much in one write.
pub(super) const HEAD_LIMIT: usize = 4096;
