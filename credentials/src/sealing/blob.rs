//! The format of sealed blobs: format byte, length and text of the key's id, nonce, ciphertext,
//! tag.

use super::FORMAT;

pub(crate) struct Blob<'a> {
    /// The key's id. Keys are selected by id, never by trial.
    pub(crate) key: &'a str,
    pub(crate) nonce: &'a [u8],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: &'a [u8],
}

impl<'a> Blob<'a> {
    /// `None` if the format is unknown to this release.
    pub(crate) fn parse(blob: &'a [u8]) -> Option<Self> {
        let [FORMAT, key_len, rest @ ..] = blob else {
            return None;
        };
        let (key, rest) = rest.split_at_checked(usize::from(*key_len))?;
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>()?;
        Some(Self {
            key: str::from_utf8(key).ok()?,
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
