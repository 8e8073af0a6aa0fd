//! sled's settings file `conf`, and its copy `conf.kept`.
//!
//! If `conf` is damaged, sled 0.34.7 uses its default settings and may show an empty store, and
//! then keep it. The file never changes, so either file can restore the other.

use std::path::Path;

use keyside_store::file::{self, FileError};

use super::error::StoreOpenError;

/// Restores a damaged or missing file from the other one. Errors name the folder `named`.
///
/// # Errors
/// Both files are damaged or missing.
pub(super) fn restore(folder: &Path, named: &Path) -> Result<(), StoreOpenError> {
    let (conf, copy) = (folder.join(CONF), folder.join(CONF_COPY));
    match (intact(&conf)?, intact(&copy)?) {
        (Some(conf), Some(copy)) if conf == copy => Ok(()),
        (_, Some(kept)) => put_back(&conf, &kept),
        (Some(kept), None) => put_back(&copy, &kept),
        (None, None) => {
            let finding = "its file conf and the copy conf.kept are both damaged or gone";
            Err(StoreOpenError::damaged(named, finding))
        }
    }
}

/// Writes the copy.
pub(super) fn write_copy(folder: &Path) -> Result<(), FileError> {
    let conf = file::read(&folder.join(CONF))?;
    file::replace(&folder.join(CONF_COPY), &conf, file::owner_only())
}

fn put_back(path: &Path, contents: &[u8]) -> Result<(), StoreOpenError> {
    tracing::warn!(file = %path.display(), "a damaged or missing file of the store was restored from its copy");
    Ok(file::replace(path, contents, file::owner_only())?)
}

fn intact(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let contents = file::read_if_exists(path)?;
    Ok(contents.filter(|contents| is_intact(contents)))
}

/// The settings end with their CRC-32, little-endian (sled 0.34.7, `config.rs`, `write_config`).
fn is_intact(contents: &[u8]) -> bool {
    let split = contents.split_last_chunk::<4>();
    split.is_some_and(|(settings, sum)| {
        !settings.is_empty() && crc32fast::hash(settings) == u32::from_le_bytes(*sum)
    })
}

/// The file in which sled keeps its settings.
pub(super) const CONF: &str = "conf";
pub(super) const CONF_COPY: &str = "conf.kept";
