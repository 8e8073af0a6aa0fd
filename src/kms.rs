//! Chooses the driver of the KMS that the settings name.

use std::sync::Arc;

use keyside_config::{Kms, Settings};
use keyside_credentials::{KmsError, KmsSource};
use keyside_vault::{Transit, Vault};

use crate::failure::Failure;

/// Chooses it without using the network, and without reading or creating a master key. `vault` is
/// the client that the settings configure.
pub(crate) fn source(
    settings: &Settings,
    vault: Option<&Arc<Vault>>,
) -> Result<KmsSource, Failure> {
    let driver = match (&settings.kms, vault) {
        (Kms::Local(local), _) => return Ok(KmsSource::Local(local.clone())),
        (Kms::Vault(transit), Some(vault)) => {
            let service = Transit::new(vault.clone(), transit, true);
            return Ok(KmsSource::Service(Arc::new(service)));
        }
        // Settings with this driver always have a client.
        (Kms::Vault(_), None) => "vault",
        (Kms::Aws, _) => "aws",
        (Kms::Azure, _) => "azure",
        (Kms::Gcp, _) => "gcp",
    };
    Err(Failure::configuration(KmsError::NotInThisRelease(driver)))
}
