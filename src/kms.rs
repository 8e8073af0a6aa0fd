//! The KMS that the settings name, with its driver.

use keyside_config::Kms;
use keyside_credentials::{KmsError, KmsSource};

/// Nothing is read, and nothing is asked over the network.
pub(crate) fn source(settings: &Kms) -> Result<KmsSource, KmsError> {
    let driver = match settings {
        Kms::Local(local) => return Ok(KmsSource::Local(local.clone())),
        Kms::Aws => "aws",
        Kms::Azure => "azure",
        Kms::Gcp => "gcp",
        Kms::Vault(_) => "vault",
    };
    Err(KmsError::NotInThisRelease { driver })
}
