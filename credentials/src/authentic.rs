//! Documents and records that stay readable in storage, and are believed only with the MAC that stands before them.
//!
//! Stored is the format byte, length and text of the key's id, the MAC, and the contents as JSON.

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    encoding::{hex, unhex},
    sealing::{FORMAT, Place, SealError, SealingKey},
};

/// SHA-256 of something stored; in JSON 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl subtle::ConstantTimeEq for Hash {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.0.ct_eq(&other.0)
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        unhex(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("not a SHA-256 in hex"))
    }
}

/// Something stored, taken apart; nothing of it is believed yet.
pub(crate) struct Stored<'a> {
    /// The id of the key that authenticates it.
    pub(crate) key: &'a str,
    mac: &'a [u8],
    /// The contents, as JSON.
    pub(crate) json: &'a [u8],
}

impl<'a> Stored<'a> {
    pub(crate) fn parse(stored: &'a [u8]) -> Result<Self, SealError> {
        let [FORMAT, key_len, rest @ ..] = stored else {
            return Err(SealError::Malformed);
        };
        let (key, rest) = rest
            .split_at_checked(usize::from(*key_len))
            .ok_or(SealError::Malformed)?;
        let (mac, json) = rest.split_at_checked(MAC_LEN).ok_or(SealError::Malformed)?;
        let key = str::from_utf8(key).map_err(|_| SealError::Malformed)?;
        Ok(Self { key, mac, json })
    }

    /// The contents, once `key` has confirmed that they were written for `place`.
    pub(crate) fn verify<T: DeserializeOwned>(
        &self,
        key: &SealingKey,
        place: &Place<'_>,
    ) -> Result<T, SealError> {
        if self.key != key.id() {
            return Err(SealError::OtherKey);
        }
        key.verify(place, self.json, self.mac)?;
        serde_json::from_slice(self.json).map_err(|_| SealError::Malformed)
    }

    /// What it claims to be, unconfirmed: only for showing it, or what it speaks of, to people.
    pub(crate) fn claims<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(self.json).ok()
    }
}

/// `contents` with the MAC that `key` gives it in `place`.
pub(crate) fn write(key: &SealingKey, place: &Place<'_>, contents: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_vec(contents).expect("our own types have string keys and serialize");
    let mac = key.mac(place, &json);
    // Key ids are ours: 29 bytes.
    let key_len = u8::try_from(key.id().len()).expect("a key id below 256 bytes");
    [&[FORMAT, key_len], key.id().as_bytes(), &mac, &json].concat()
}

const MAC_LEN: usize = 32;
