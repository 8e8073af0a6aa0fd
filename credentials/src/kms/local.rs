//! The `local` driver: a 32-byte master key on this machine.

mod files;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use keyside_config::MasterKeySource;
use keyside_store::file;
use zeroize::Zeroizing;

pub(crate) use self::files::MasterKeyFiles;
use super::{KeyService, KmsError, Wrapping};
use crate::{
    encoding::hex,
    entropy,
    locked::LockedMemory,
    sealing::{SealContext, SealError, SealingKey, subkey},
};

/// A master key of the `local` driver. Its subkeys are in locked memory; the key itself is not
/// kept.
pub struct MasterKey(SealingKey);

impl MasterKey {
    /// A new key in base64, as `keyside master-key generate` prints it.
    pub fn generate() -> Zeroizing<String> {
        Zeroizing::new(BASE64_STANDARD.encode(entropy::secret().as_slice()))
    }

    /// Parses a key from a file or variable: base64 (a trailing newline is ignored), or 32 raw
    /// bytes.
    ///
    /// # Errors
    /// [`KmsError::NotAKey`] with `origin`.
    pub fn parse(text: &[u8], origin: &str) -> Result<Self, KmsError> {
        let key = raw_key(text).ok_or_else(|| KmsError::NotAKey(origin.to_owned()))?;
        Ok(Self::new(&key))
    }

    /// The master key's id, derived from the key. Reveals nothing about it.
    pub fn id(&self) -> &str {
        self.0.id()
    }

    fn find(source: &MasterKeySource, keyring: &Path) -> Result<Self, KmsError> {
        match source {
            MasterKeySource::File(path) => Self::read(path),
            MasterKeySource::EnvironmentVariable => Self::from_variable(),
            MasterKeySource::Generated(path) if path.exists() => Self::read(path),
            MasterKeySource::Generated(path) if keyring.exists() => Err(KmsError::GeneratedGone {
                master_key: path.clone(),
                keyring: keyring.to_owned(),
            }),
            MasterKeySource::Generated(path) => Self::make(path),
        }
    }

    fn read(path: &Path) -> Result<Self, KmsError> {
        let text = Zeroizing::new(file::read(path).map_err(KmsError::File)?);
        if file::is_open_to_others(path) {
            tracing::warn!(path = %path.display(), "the master key can be read by every user: chmod 600");
        }
        Self::parse(&text, &path.display().to_string())
    }

    fn from_variable() -> Result<Self, KmsError> {
        tracing::warn!(
            "the master key is in KMS_MASTER_KEY, which other processes of this user can read: use KMS_MASTER_KEY_FILE"
        );
        let text = std::env::var("KMS_MASTER_KEY").map_err(|_| KmsError::VariableMissing)?;
        Self::parse(Zeroizing::new(text).as_bytes(), "KMS_MASTER_KEY")
    }

    fn make(path: &Path) -> Result<Self, KmsError> {
        file::replace_secret(path, &Self::generate(), file::owner_only())
            .map_err(KmsError::File)?;
        tracing::warn!(
            path = %path.display(),
            "made a master key beside the data: a copy of both gives access to every secret. Before production keep it \
             elsewhere, and name it in KMS_MASTER_KEY_FILE"
        );
        Self::read(path)
    }

    fn new(key: &[u8; KEY_LEN]) -> Self {
        let id = format!("mk_{}", hex(&subkey(key, b"keyside/1/master-key-id")[..8]));
        let root = subkey(key, b"keyside/1/wrap");
        let memory = LockedMemory::default();
        Self(SealingKey::new(&id, &"".into(), &root, &memory))
    }

    fn wrap(&self, wrapping: &Wrapping<'_>, key: &[u8; KEY_LEN]) -> Vec<u8> {
        self.0.seal(&wrapping.seal_context(), key)
    }

    fn unwrap(
        &self,
        wrapping: &Wrapping<'_>,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; KEY_LEN]>, KmsError> {
        let not_authentic = || KmsError::NotAuthentic(wrapping.key.to_owned());
        let plaintext =
            self.0
                .open(&wrapping.seal_context(), wrapped)
                .map_err(|error| match error {
                    SealError::OtherKey => KmsError::WrongMasterKey {
                        expected: SealingKey::id_in(wrapped).unwrap_or("another").to_owned(),
                        given: self.id().to_owned(),
                    },
                    SealError::Malformed => KmsError::unreadable("local", wrapping.key, wrapped),
                    SealError::NotAuthentic => not_authentic(),
                })?;
        let key = <&[u8; KEY_LEN]>::try_from(plaintext.as_slice());
        Ok(Zeroizing::new(*key.map_err(|_| not_authentic())?))
    }
}

/// The `local` driver: all available master keys, one of which wraps.
pub(super) struct LocalKeys {
    wraps: Arc<MasterKey>,
    available: Vec<Arc<MasterKey>>,
}

#[async_trait]
impl KeyService for LocalKeys {
    fn name(&self, _workspace: &str) -> String {
        self.wraps.id().to_owned()
    }

    fn wrapped_by(&self, wrapped: &[u8]) -> Option<String> {
        SealingKey::id_in(wrapped).map(str::to_owned)
    }

    fn can_make_new(&self) -> bool {
        true
    }

    async fn wrap(
        &self,
        wrapping: &Wrapping<'_>,
        key: &[u8; KEY_LEN],
    ) -> Result<Vec<u8>, KmsError> {
        Ok(self.wraps.wrap(wrapping, key))
    }

    async fn unwrap(
        &self,
        wrapping: &Wrapping<'_>,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; KEY_LEN]>, KmsError> {
        let by = SealingKey::id_in(wrapped);
        let key = by.and_then(|by| self.available.iter().find(|key| key.id() == by));
        key.unwrap_or(&self.wraps).unwrap(wrapping, wrapped)
    }
}

impl<'a> Wrapping<'a> {
    fn seal_context(&self) -> SealContext<'a> {
        SealContext::WrappedKey {
            installation: self.installation,
            workspace: self.workspace,
            key: self.key,
            signer: self.signer,
        }
    }
}

/// Parses 32 bytes in any form that a master key may have.
pub(crate) fn raw_key(text: &[u8]) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    if let Ok(raw) = <&[u8; KEY_LEN]>::try_from(text) {
        return Some(Zeroizing::new(*raw));
    }
    let mut decoded = Zeroizing::new([0; KEY_LEN + 1]);
    let len = LENIENT
        .decode_slice(text.trim_ascii(), &mut *decoded)
        .ok()?;
    let key = <&[u8; KEY_LEN]>::try_from(&decoded[..len]).ok()?;
    Some(Zeroizing::new(*key))
}

const KEY_LEN: usize = 32;

/// Standard base64. Padding is optional, because it is often lost in copying.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests;
