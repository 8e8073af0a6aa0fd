//! What wraps the workspace keys.

use std::path::Path;

/// A key service, ready to wrap.
pub struct Kms(());

impl Kms {
    /// Opens the driver that the settings name. `keyring` is looked at only to refuse to make a new master key where an
    /// old one has wrapped something already.
    ///
    /// # Errors
    /// What is wrong with the master key, and what to do.
    pub fn open(_settings: &keyside_config::Kms, _keyring: &Path) -> Result<Self, KmsError> {
        Err(KmsError::NotInThisRelease { driver: "local" })
    }
}

/// A master key of the `local` driver.
pub struct MasterKey(());

impl MasterKey {
    /// A new one, as `keyside master-key generate` prints it: base64.
    pub fn generate() -> zeroize::Zeroizing<String> {
        zeroize::Zeroizing::new(String::new())
    }
}

/// Why there is no key service.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// A driver that is not built in yet.
    #[error("kms.driver = \"{driver}\" comes with a later release: use \"local\"")]
    NotInThisRelease {
        /// Its name.
        driver: &'static str,
    },
}
