//! The cache's key: 32 bytes in a file, in the form of a master key. Keyside never creates it, so
//! that it is never beside the cache without an operator's decision.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use keyside_store::file::{self, FileError};
use nix::unistd::Uid;
use zeroize::Zeroizing;

use crate::{
    encoding::hex,
    kms::raw_key,
    locked::LockedMemory,
    sealing::{SealingKey, subkey},
};

/// Seals the cache. Its subkeys are in locked memory; the key itself is not kept.
pub struct CacheKey(pub(super) SealingKey);

/// Why the cache has no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheKeyError {
    /// The file is missing, or cannot be read.
    #[error(
        "vault.cache_key_file: {0}. Make a key with `umask 077; keyside master-key generate > FILE`"
    )]
    File(#[source] FileError),
    /// Other users can read the file.
    #[error(
        "vault.cache_key_file: {} has mode {mode:03o}, so that other users can read the key: chmod 600 it", path.display()
    )]
    OpenToOthers {
        /// The file's path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key is in the cache's folder, so a copy of the folder could be opened.
    #[error(
        "vault.cache_key_file: {} is in the folder vault.cache, so that a copy of the folder opens itself; move the key \
         elsewhere", .0.display()
    )]
    InTheCache(PathBuf),
    /// The file does not hold a key.
    #[error(
        "vault.cache_key_file: {} does not hold a key: expected 32 bytes, raw or in base64, as `keyside master-key generate` \
         prints them", .0.display()
    )]
    NotAKey(PathBuf),
}

impl CacheKey {
    /// Reads the key in the file at `path`, which must be private and outside of the cache's
    /// `folder`.
    ///
    /// # Errors
    /// What is wrong with the file, and what to do.
    pub fn read(path: &Path, folder: &Path) -> Result<Self, CacheKeyError> {
        let unreadable = |error: io::Error| CacheKeyError::File(FileError::at(path)(error));
        let metadata = fs::metadata(path).map_err(unreadable)?;
        let mode = metadata.permissions().mode() & 0o777;
        let is_ours = metadata.uid() == Uid::effective().as_raw();
        if !is_private(mode, is_ours) {
            let path = path.to_owned();
            return Err(CacheKeyError::OpenToOthers { path, mode });
        }
        if is_within(path, folder) {
            let path = path.to_owned();
            return Err(CacheKeyError::InTheCache(path));
        }
        let text = file::read(path).map_err(CacheKeyError::File)?;
        let key = raw_key(&Zeroizing::new(text))
            .ok_or_else(|| CacheKeyError::NotAKey(path.to_owned()))?;
        Ok(Self::new(&key))
    }

    /// Derives keys that differ from those of a master key with the same bytes.
    fn new(key: &[u8; 32]) -> Self {
        let id = format!("ck_{}", hex(&subkey(key, b"keyside/1/cache-key-id")[..8]));
        let root = subkey(key, b"keyside/1/vault-cache");
        let memory = LockedMemory::default();
        Self(SealingKey::new(&id, &"".into(), &root, &memory))
    }
}

/// Accepts modes 600 and 400. Files that systemd and Kubernetes mount may belong to root and be
/// readable through a group or an access list, which shows in the group's bits and cannot be
/// changed from here.
fn is_private(mode: u32, is_ours: bool) -> bool {
    match is_ours {
        true => mode & 0o077 == 0,
        false => mode & 0o037 == 0,
    }
}

/// Compares canonical paths: the settings may use links.
fn is_within(path: &Path, folder: &Path) -> bool {
    match (fs::canonicalize(path), fs::canonicalize(folder)) {
        (Ok(path), Ok(folder)) => path.starts_with(folder),
        // The folder does not exist yet.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::MasterKey;

    fn refused(path: &Path, folder: &Path) -> String {
        match CacheKey::read(path, folder) {
            Ok(_) => panic!("{} was read", path.display()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_readable_or_misplaced_key_is_refused_with_a_remedy() {
        let home = tempfile::tempdir().unwrap();
        let (path, folder) = (home.path().join("key"), home.path().join("cache"));
        assert!(refused(&path, &folder).contains("keyside master-key generate"));
        fs::write(&path, MasterKey::generate().as_bytes()).unwrap();
        for (mode, remedy) in [
            (0o644, "mode 644"),
            (0o640, "chmod 600"),
            (0o602, "mode 602"),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let said = refused(&path, &folder);
            assert!(said.contains(remedy), "{said}");
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(CacheKey::read(&path, &folder).is_ok(), "{mode:o}");
        }
        let link = home.path().join("link");
        std::os::unix::fs::symlink(home.path(), &link).unwrap();
        let said = refused(&path, &link);
        assert!(said.contains("move the key elsewhere"), "{said}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "canary-no-key").unwrap();
        let said = refused(&path, &folder);
        assert!(said.contains("does not hold a key"), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }

    #[test]
    fn a_key_file_of_another_owner_may_be_group_readable() {
        assert!(is_private(0o440, false));
        assert!(!is_private(0o440, true));
        for mode in [0o444, 0o460, 0o604] {
            assert!(!is_private(mode, false), "{mode:o}");
        }
    }

    #[test]
    fn a_master_key_of_the_same_bytes_is_a_different_key() {
        let text = MasterKey::generate();
        let master = MasterKey::parse(text.as_bytes(), "a test").unwrap();
        let raw = raw_key(text.as_bytes()).unwrap();
        let (one, same) = (CacheKey::new(&raw), CacheKey::new(&raw));
        assert_eq!(one.0.id(), same.0.id());
        assert_ne!(one.0.id()[3..], master.id()[3..]);
    }
}
