//! Sealing: stored data can be opened, and is trusted, only in the context it was written for.
//!
//! Secrets are sealed with XChaCha20-Poly1305 and a random 24-byte nonce (draft-irtf-cfrg-xchacha);
//! associated data binds them to their context. Metadata that stays readable is authenticated with
//! HMAC-SHA-256. Both keys are derived from one workspace key with HKDF-SHA-256 (RFC 5869), so
//! neither use can be turned against the other.

mod blob;
mod context;

use std::{fmt, sync::Arc};

use chacha20poly1305::{
    AeadInOut, KeyInit as _, Tag, XChaCha20Poly1305, XNonce, aead::inout::InOutBuf,
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use self::blob::Blob;
pub(crate) use self::context::{SealContext, fields};
use crate::{
    entropy,
    locked::{Half, LockedKeys, LockedMemory},
    secret::Secret,
};

/// The first byte of every sealed blob.
pub(crate) const FORMAT: u8 = 1;
/// The algorithm's name in associated data.
pub(crate) const ALGORITHM: &str = "XChaCha20-Poly1305";

/// A key that seals and authenticates: a workspace's, or the installation's own.
pub(crate) struct SealingKey {
    id: Arc<str>,
    installation: Arc<str>,
    keys: LockedKeys,
}

impl SealingKey {
    /// Derives two subkeys from `root`, which is not kept.
    pub(crate) fn new(
        id: &str,
        installation: &Arc<str>,
        root: &[u8; 32],
        memory: &LockedMemory,
    ) -> Self {
        let seal = subkey(root, b"keyside/1/seal");
        let mac = subkey(root, b"keyside/1/mac");
        let keys = memory.hold(&seal, &mac);
        Self {
            id: id.into(),
            installation: installation.clone(),
            keys,
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn installation(&self) -> &str {
        &self.installation
    }

    pub(crate) fn id_in(blob: &[u8]) -> Option<&str> {
        Blob::parse(blob).map(|blob| blob.key)
    }

    pub(crate) fn seal(&self, context: &SealContext<'_>, plaintext: &[u8]) -> Vec<u8> {
        let mut nonce = XNonce::default();
        entropy::fill(&mut nonce);
        self.seal_with(
            &nonce,
            &context.associated_data(&self.installation),
            plaintext,
        )
    }

    pub(crate) fn seal_secret(&self, context: &SealContext<'_>, secret: &Secret) -> Vec<u8> {
        self.seal(context, secret.expose())
    }

    fn seal_with(&self, nonce: &XNonce, associated_data: &[u8], plaintext: &[u8]) -> Vec<u8> {
        // Encrypts into a separate buffer: a copy of the plaintext would have to be wiped.
        let mut ciphertext = vec![0; plaintext.len()];
        let tag = self
            .cipher()
            .encrypt_inout_detached(
                nonce,
                associated_data,
                InOutBuf::new(plaintext, &mut ciphertext).expect("both have one length"),
            )
            .expect("a plaintext below 256 GiB");
        Blob {
            key: &self.id,
            nonce: nonce.as_slice(),
            ciphertext: &ciphertext,
            tag: &tag,
        }
        .to_vec()
    }

    /// Once per request: two allocations, for the associated data and the returned buffer.
    pub(crate) fn open(
        &self,
        context: &SealContext<'_>,
        blob: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let associated_data = context.associated_data(&self.installation);
        let blob = Blob::parse(blob).ok_or(SealError::Malformed)?;
        if blob.key != &*self.id {
            return Err(SealError::OtherKey);
        }
        let (Ok(nonce), Ok(tag)) = (XNonce::try_from(blob.nonce), Tag::try_from(blob.tag)) else {
            return Err(SealError::Malformed);
        };
        let mut plaintext = Zeroizing::new(vec![0; blob.ciphertext.len()]);
        let buffer =
            InOutBuf::new(blob.ciphertext, &mut plaintext).map_err(|_| SealError::Malformed)?;
        self.cipher()
            .decrypt_inout_detached(&nonce, &associated_data, buffer, &tag)
            .map_err(|_| SealError::NotAuthentic)?;
        Ok(plaintext)
    }

    pub(crate) fn mac(&self, context: &SealContext<'_>, body: &[u8]) -> [u8; 32] {
        self.hmac(context, body).finalize().into_bytes().into()
    }

    /// A MAC of a secret, to recognise the same secret without keeping it.
    pub(crate) fn mac_secret(&self, context: &SealContext<'_>, secret: &Secret) -> [u8; 32] {
        self.mac(context, secret.expose())
    }

    /// Verifies `mac` for `body` in `context`, in constant time.
    pub(crate) fn verify(
        &self,
        context: &SealContext<'_>,
        body: &[u8],
        mac: &[u8],
    ) -> Result<(), SealError> {
        self.hmac(context, body)
            .verify_slice(mac)
            .map_err(|_| SealError::NotAuthentic)
    }

    fn hmac(&self, context: &SealContext<'_>, body: &[u8]) -> Hmac<Sha256> {
        let key = self.keys.read(Half::Mac);
        let mut hmac =
            Hmac::<Sha256>::new_from_slice(&*key).expect("HMAC takes a key of any length");
        hmac.update(&context.associated_data(&self.installation));
        // Appended as one more field, without copying it.
        hmac.update(&context::field_len(body));
        hmac.update(body);
        hmac
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.keys.read(Half::Seal)).into())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why a sealed blob or a MAC was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("its format is unknown to this release")]
    Malformed,
    #[error("it names another key")]
    OtherKey,
    #[error("it was edited, or sealed for another place")]
    NotAuthentic,
}

pub(crate) fn subkey(root: &[u8; 32], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, root)
        .expand(purpose, &mut *key)
        .expect("32 bytes are within what HKDF-SHA-256 gives");
    key
}

#[cfg(test)]
mod tests;
