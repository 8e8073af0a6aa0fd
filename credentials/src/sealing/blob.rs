//! The format of sealed blobs: format byte, length and text of the key's id, nonce, ciphertext,
//! tag.

use super::{FORMAT, SealError};

pub(crate) struct Blob<'a> {
    /// The key's id. Keys are selected by id, never by trial.
    pub(crate) key: &'a str,
    pub(crate) nonce: &'a [u8],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: &'a [u8],
}

impl<'a> Blob<'a> {
    pub(crate) fn parse(blob: &'a [u8]) -> Result<Self, SealError> {
        let [FORMAT, key_len, rest @ ..] = blob else {
            return Err(SealError::Malformed);
        };
        let (key, rest) = rest
            .split_at_checked(usize::from(*key_len))
            .ok_or(SealError::Malformed)?;
        let (nonce, rest) = rest
            .split_at_checked(NONCE_LEN)
            .ok_or(SealError::Malformed)?;
        let tag_at = rest
            .len()
            .checked_sub(TAG_LEN)
            .ok_or(SealError::Malformed)?;
        let (ciphertext, tag) = rest.split_at(tag_at);
        let key = str::from_utf8(key).map_err(|_| SealError::Malformed)?;
        Ok(Self {
            key,
            nonce,
            ciphertext,
            tag,
        })
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        // Key ids are created here, and short.
        let key_len = u8::try_from(self.key.len()).unwrap_or(u8::MAX);
        let key = &self.key.as_bytes()[..usize::from(key_len)];
        [
            &[FORMAT, key_len],
            key,
            self.nonce,
            self.ciphertext,
            self.tag,
        ]
        .concat()
    }
}

const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
