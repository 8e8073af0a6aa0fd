//! The KMS that the settings name, with its driver.

use std::{fmt::Display, sync::Arc};

use keyside_config::{Kms, Settings, TransitKms};
use keyside_credentials::{KmsError, KmsSource};
use keyside_vault::{Transit, Vault};

use crate::failure::Failure;

/// Nothing is asked over the network yet, and no master key is read or made.
pub(crate) fn source(settings: &Settings) -> Result<KmsSource, Failure> {
    let driver = match (&settings.kms, &settings.vault) {
        (Kms::Local(local), _) => return Ok(KmsSource::Local(local.clone())),
        (Kms::Vault(transit), Some(vault)) => return over_vault(transit, vault),
        // The settings are complete: without `[vault]` there is no such driver.
        (Kms::Vault(_), None) => "vault",
        (Kms::Aws, _) => "aws",
        (Kms::Azure, _) => "azure",
        (Kms::Gcp, _) => "gcp",
    };
    Err(misconfigured(KmsError::NotInThisRelease { driver }))
}

/// With a sign-in of its own: the registry and the commands on a folder at rest are the only ones that need it.
fn over_vault(
    transit: &TransitKms,
    vault: &keyside_config::Vault,
) -> Result<KmsSource, Failure> {
    // Opening a Vault needs the process's crypto provider; an error only says that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let vault = Vault::open(vault).map_err(misconfigured)?;
    let service = Transit::new(vault, transit, true);
    Ok(KmsSource::Service(Arc::new(service)))
}

fn misconfigured(error: impl Display) -> Failure {
    Failure::configuration(error.to_string())
}
