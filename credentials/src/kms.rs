//! What wraps the workspace keys.
//!
//! A driver sees a workspace key only while it wraps or unwraps it, at start and when a workspace is made; never once a
//! request.

mod error;
mod local;

use std::path::Path;

use keyside_config::KmsDriver;
use zeroize::Zeroizing;

pub use self::{error::KmsError, local::MasterKey};

/// A key service, ready to wrap.
pub struct Kms(Driver);

/// The drivers there are.
enum Driver {
    Local(MasterKey),
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
    pub fn open(settings: &keyside_config::Kms, keyring: &Path) -> Result<Self, KmsError> {
        match settings.driver {
            KmsDriver::Local => Ok(Self::local(MasterKey::find(&settings.master_key, keyring)?)),
            KmsDriver::Aws => Err(KmsError::NotInThisRelease { driver: "aws" }),
            KmsDriver::Azure => Err(KmsError::NotInThisRelease { driver: "azure" }),
            KmsDriver::Gcp => Err(KmsError::NotInThisRelease { driver: "gcp" }),
            KmsDriver::Vault => Err(KmsError::NotInThisRelease { driver: "vault" }),
        }
    }

    /// The `local` driver with a master key at hand.
    pub fn local(master_key: MasterKey) -> Self {
        Self(Driver::Local(master_key))
    }

    /// Asynchronous because the drivers to come ask over a network.
    pub(crate) async fn wrap(
        &self,
        wrapping: &Wrapping<'_>,
        key: &[u8; 32],
    ) -> Result<Vec<u8>, KmsError> {
        match &self.0 {
            Driver::Local(master_key) => Ok(master_key.wrap(wrapping, key)),
        }
    }

    pub(crate) async fn unwrap(
        &self,
        wrapping: &Wrapping<'_>,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, KmsError> {
        match &self.0 {
            Driver::Local(master_key) => master_key.unwrap(wrapping, wrapped),
        }
    }
}
