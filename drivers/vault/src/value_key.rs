//! Versions for KV version 1, which has none: an HMAC of the value under a key of this process.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::VaultError;

/// The HMAC key, random in each process.
pub(crate) struct ValueKey(Zeroizing<[u8; 32]>);

impl ValueKey {
    pub(crate) fn random() -> Result<Self, VaultError> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key).map_err(|error| {
            VaultError::Settings(format!("the system returned no random bytes: {error}"))
        })?;
        Ok(Self(key))
    }

    /// The version of a value: 16 hexadecimal digits.
    pub(crate) fn version(&self, value: &[u8]) -> String {
        let mut hmac =
            Hmac::<Sha256>::new_from_slice(&*self.0).expect("HMAC takes a key of any length");
        hmac.update(value);
        let tag = hmac.finalize().into_bytes();
        tag.iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}
