//! What wraps the workspace keys.
//!
//! A driver sees a workspace key only while it wraps or unwraps it: at start, when a workspace is made, when the master key
//! is rotated; never once a request.

mod error;
mod local;

use std::path::Path;

use keyside_config::{Kms as Settings, LocalKms, MasterKeySource};
use zeroize::Zeroizing;

use self::local::MasterKeys;
pub use self::{error::KmsError, local::MasterKey};
use crate::file::FileError;

/// A key service, ready to wrap.
pub struct Kms(Driver);

/// The drivers there are.
enum Driver {
    Local(MasterKeys),
}

/// What a wrapped key is bound to, so that it cannot be passed off as another's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrapping<'a> {
    /// The installation it belongs to.
    pub(crate) installation: &'a str,
    /// The workspace, or nothing for the installation's own key.
    pub(crate) workspace: &'a str,
    /// The key's id.
    pub(crate) key: &'a str,
}

impl Kms {
    /// Opens the driver that the settings name. `keyring` is looked at only to refuse to make a new master key where an
    /// old one has wrapped something already.
    ///
    /// # Errors
    /// What is wrong with the master key, and what to do.
    pub fn open(settings: &Settings, keyring: &Path) -> Result<Self, KmsError> {
        let local = Self::offered(settings)?;
        Ok(Self(Driver::Local(MasterKeys::find(local, keyring)?)))
    }

    /// The settings of the driver, if this release has it; nothing is looked at.
    ///
    /// # Errors
    /// [`KmsError::NotInThisRelease`].
    pub fn offered(settings: &Settings) -> Result<&LocalKms, KmsError> {
        let driver = match settings {
            Settings::Local(local) => return Ok(local),
            Settings::Aws => "aws",
            Settings::Azure => "azure",
            Settings::Gcp => "gcp",
            Settings::Vault(_) => "vault",
        };
        Err(KmsError::NotInThisRelease { driver })
    }

    /// The same, where a master key that is not there must not be made: something exists that only it opens.
    ///
    /// # Errors
    /// What is wrong with the master key, and what to do.
    pub fn open_existing(settings: &Settings, keyring: &Path) -> Result<Self, KmsError> {
        match &Self::offered(settings)?.master_key {
            MasterKeySource::Generated(path) if !path.exists() => {
                Err(KmsError::NotThere { path: path.clone() })
            }
            _ => Self::open(settings, keyring),
        }
    }

    /// The `local` driver with a master key at hand.
    pub fn local(master_key: MasterKey) -> Self {
        Self(Driver::Local(MasterKeys::only(master_key)))
    }

    /// The id of the master key that wraps now.
    pub(crate) fn current(&self) -> &str {
        match &self.0 {
            Driver::Local(keys) => keys.current.id(),
        }
    }

    /// The id of the master key that has wrapped something.
    pub(crate) fn wrapped_by<'w>(&self, wrapped: &'w [u8]) -> Option<&'w str> {
        match &self.0 {
            Driver::Local(_) => MasterKey::id_in(wrapped),
        }
    }

    /// Whether there is a master key of this id to work with.
    pub(crate) fn has(&self, master_key: &str) -> bool {
        match &self.0 {
            Driver::Local(keys) => keys.get(master_key).is_some(),
        }
    }

    /// Whether it is the one that was made to go over to.
    pub(crate) fn is_next(&self, master_key: &str) -> bool {
        match &self.0 {
            Driver::Local(keys) => keys.is_next(master_key),
        }
    }

    /// Makes a master key to go over to, and names it. Until it is adopted nothing is wrapped with it unasked.
    pub(crate) fn make_next(&mut self) -> Result<String, KmsError> {
        match &mut self.0 {
            Driver::Local(keys) => keys.make_next().map(|key| key.id().to_owned()),
        }
    }

    /// From now on `master_key` wraps. Called once nothing is wrapped with another.
    ///
    /// # Errors
    /// When it could not take the place of the old one where it is kept. It wraps all the same, and a start finds it.
    pub(crate) fn adopt(&mut self, master_key: &str) -> Result<(), FileError> {
        match &mut self.0 {
            Driver::Local(keys) => keys.adopt(master_key),
        }
    }

    /// Lets go of a master key that was made to go over to, and never was.
    pub(crate) fn forget_next(&mut self) -> Result<(), FileError> {
        match &mut self.0 {
            Driver::Local(keys) => keys.forget_next(),
        }
    }

    /// Asynchronous because the drivers to come ask over a network.
    pub(crate) async fn wrap(
        &self,
        wrapping: &Wrapping<'_>,
        key: &[u8; 32],
    ) -> Result<Vec<u8>, KmsError> {
        self.wrap_with(self.current(), wrapping, key).await
    }

    /// The same with one of the master keys at hand.
    pub(crate) async fn wrap_with(
        &self,
        master_key: &str,
        wrapping: &Wrapping<'_>,
        key: &[u8; 32],
    ) -> Result<Vec<u8>, KmsError> {
        match &self.0 {
            Driver::Local(keys) => match keys.get(master_key) {
                Some(with) => Ok(with.wrap(wrapping, key)),
                None => Err(self.wrong(master_key)),
            },
        }
    }

    pub(crate) async fn unwrap(
        &self,
        wrapping: &Wrapping<'_>,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, KmsError> {
        match &self.0 {
            Driver::Local(keys) => MasterKey::id_in(wrapped)
                .and_then(|id| keys.get(id))
                .unwrap_or(&keys.current)
                .unwrap(wrapping, wrapped),
        }
    }

    fn wrong(&self, expected: &str) -> KmsError {
        KmsError::WrongMasterKey {
            expected: expected.to_owned(),
            given: self.current().to_owned(),
        }
    }
}
