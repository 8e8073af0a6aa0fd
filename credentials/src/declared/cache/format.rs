//! The cache's file format: format byte, length and text of the key's id, a MAC of the body, and
//! the body in postcard.

use jiff::{Timestamp, fmt::serde::timestamp::microsecond};
use serde::{Deserialize, Serialize};

use crate::sealing::{FORMAT, SealContext, SealError, SealingKey};

/// Identifies an entry without revealing its credential: a MAC of its seal context.
pub(super) type Tag = [u8; 32];

/// The part that the MAC covers.
#[derive(Serialize, Deserialize)]
pub(super) struct Body {
    /// Time of the last use: a clock that is behind it was set back.
    #[serde(with = "microsecond::required")]
    pub(super) last_used: Timestamp,
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) context: Tag,
    /// Vault's version, or a MAC if Vault has none (KV version 1).
    pub(super) version: String,
    /// Vault's last confirmation.
    #[serde(with = "microsecond::required")]
    pub(super) confirmed: Timestamp,
    pub(super) sealed: Vec<u8>,
}

pub(super) fn encode(key: &SealingKey, body: &Body) -> Vec<u8> {
    let body = postcard::to_extend(body, Vec::<u8>::new());
    let body = body.expect("numbers and bytes of known length serialize");
    let mac = key.mac(&CONTEXT, &body);
    let id = key.id().as_bytes();
    // Key ids are created here, and short.
    let id_len = u8::try_from(id.len()).unwrap_or(u8::MAX);
    [
        [FORMAT, id_len].as_slice(),
        id,
        mac.as_slice(),
        body.as_slice(),
    ]
    .concat()
}

pub(super) fn decode(key: &SealingKey, file: &[u8]) -> Result<Body, SealError> {
    let [FORMAT, id_len, rest @ ..] = file else {
        return Err(SealError::Malformed);
    };
    let id = rest.split_at_checked(usize::from(*id_len));
    let (id, rest) = id.ok_or(SealError::Malformed)?;
    let mac = rest.split_at_checked(MAC_LEN);
    let (mac, body) = mac.ok_or(SealError::Malformed)?;
    if id != key.id().as_bytes() {
        return Err(SealError::OtherKey);
    }
    key.verify(&CONTEXT, body, mac)?;
    postcard::from_bytes(body).map_err(|_| SealError::Malformed)
}

const CONTEXT: SealContext<'_> = SealContext::Document { key: "vault-cache" };
const MAC_LEN: usize = 32;
