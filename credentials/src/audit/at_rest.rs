//! The log of a data folder that no process serves, to be checked without starting anything.

use std::{path::Path, sync::Arc};

use super::{Audit, Head, Receipt, VerifyError};
use crate::{Kms, SystemClock, clock::Ratchet, keyring::Keyring, storage::SledStorage};

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
    open(store, keyring, kms).await?.verify().await
}

/// Holds a receipt against such a log, as [`Audit::confirm`] does.
///
/// # Errors
/// Why it is not confirmed; or what kept the log from being read.
pub async fn confirm_at_rest(
    store: &Path,
    keyring: &Path,
    kms: &keyside_config::Kms,
    receipt: &Receipt,
) -> Result<(), VerifyError> {
    open(store, keyring, kms).await?.confirm(receipt).await
}

async fn open(
    store: &Path,
    keyring: &Path,
    kms: &keyside_config::Kms,
) -> Result<Audit, VerifyError> {
    // Opening what is not there would make it.
    if let Some(missing) = [keyring, store].into_iter().find(|path| !path.exists()) {
        return Err(VerifyError::NothingThere {
            path: missing.to_owned(),
        });
    }
    let anchor = keyring.with_file_name("audit-head");
    let kms = Kms::open(kms, keyring)?;
    let keyring = Keyring::open_or_create(keyring, kms).await?;
    let storage = SledStorage::open(store).await?;
    let clock = Ratchet::new(Arc::new(SystemClock));
    Ok(Audit::new(
        Arc::new(storage),
        Arc::new(keyring),
        Arc::new(clock),
        &anchor,
    ))
}
