//! Checking the log of a data folder that no process serves: without starting anything, and without writing.

use std::path::Path;

use super::{Head, VerifyError, anchor::Anchor, chain};
use crate::{Kms, keyring::Keyring, storage::Storage};

/// Reads the whole log in `storage` and holds it against the head that is kept beside the keyring.
///
/// # Errors
/// The first record that is not what was written; or what kept it from being read.
pub async fn verify_at_rest(
    storage: &dyn Storage,
    keyring: &Path,
    kms: Kms,
) -> Result<Head, VerifyError> {
    // Opening one that is not there would make one.
    if !keyring.exists() {
        return Err(VerifyError::KeyringMissing {
            path: keyring.to_owned(),
        });
    }
    let anchor = Anchor::at(&keyring.with_file_name("audit-head"));
    let keyring = Keyring::open_or_create(keyring, kms).await?;
    let key = keyring.installation();
    let scan = chain::scan(storage, key, Head::default(), drop).await?;
    match scan.first_break(anchor.read(key)) {
        Some(found) => Err(VerifyError::Broken(found)),
        None => Ok(scan.head),
    }
}
