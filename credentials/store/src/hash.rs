//! SHA-256, which names objects and chains records.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// What a newtype over an array of bytes has that is shown as hex digits.
macro_rules! shown_in_hex {
    ($name:ident, $length:literal) => {
        impl $name {
            /// Its bytes.
            pub fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl From<[u8; $length]> for $name {
            fn from(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&$crate::hash::hex(&self.0))
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }
    };
}
pub(crate) use shown_in_hex;

/// Serializes bytes as hex digits, also in formats that are not for people.
pub(crate) mod as_hex {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{hex, unhex};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let bytes = unhex(&Cow::<str>::deserialize(deserializer)?);
        bytes.ok_or_else(|| D::Error::custom(format_args!("not {N} bytes in hex")))
    }
}

/// A SHA-256 hash; in JSON 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The chain hash after a record whose bytes hash to `record`. Only the record's hash is
    /// needed, so a chain can be verified by someone who may not read all of its records.
    pub fn followed_by(self, record: Self) -> Self {
        Self::of(&[self.0, record.0].concat())
    }
}

shown_in_hex!(Hash, 32);

impl subtle::ConstantTimeEq for Hash {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.0.ct_eq(&other.0)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => as_hex::serialize(&self.0, serializer),
            false => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => as_hex::deserialize(deserializer).map(Self),
            false => <[u8; 32]>::deserialize(deserializer).map(Self),
        }
    }
}

/// Bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// Decodes `2 * N` hex digits.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_decodes_to_the_encoded_bytes() {
        let hash = Hash::of(b"a");
        assert_eq!(unhex(&hash.to_string()), Some(*hash.as_bytes()));
        assert_eq!(unhex::<32>("00"), None);
        assert_eq!(unhex::<1>("0g"), None);
    }

    #[test]
    fn the_chain_hash_depends_on_the_order_of_records() {
        let (one, two) = (Hash::of(b"1"), Hash::of(b"2"));
        let start = Hash::default();
        assert_ne!(
            start.followed_by(one).followed_by(two),
            start.followed_by(two).followed_by(one)
        );
    }
}
