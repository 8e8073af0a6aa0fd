//! Checking the log of a data folder that no process serves: without starting anything, and without changing a record.

use std::path::Path;

use super::{Head, VerifyError, anchor::Anchor, chain};
use crate::{Kms, keyring::Keyring, storage::SledStorage};

/// Reads the whole log of the embedded store in the folder `store`, and holds it against the head that is kept beside the
/// keyring.
///
/// # Errors
/// The first record that is not what was written; or what kept it from being read, such as a process that serves it.
pub async fn verify_at_rest(
    store: &Path,
    keyring: &Path,
    kms: &keyside_config::Kms,
) -> Result<Head, VerifyError> {
    // Opening what is not there would make it.
    if let Some(missing) = [keyring, store].into_iter().find(|path| !path.exists()) {
        return Err(VerifyError::NothingThere {
            path: missing.to_owned(),
        });
    }
    let anchor = Anchor::at(&keyring.with_file_name("audit-head"));
    let kms = Kms::open(kms, keyring)?;
    let keyring = Keyring::open_or_create(keyring, kms).await?;
    let key = keyring.installation();
    let storage = SledStorage::open(store).await?;
    let scan = chain::scan(&storage, key, Head::default(), drop).await?;
    match scan.first_break(anchor.read(key)) {
        Some(found) => Err(VerifyError::Broken(found)),
        None => Ok(scan.head),
    }
}
