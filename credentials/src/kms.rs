//! The key service (KMS), which wraps workspace keys.
//!
//! It handles a workspace key only to wrap or unwrap it: at a start, when a workspace is created,
//! and in rotations; never for a request. Drivers for remote services have crates of their own.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod error;
mod local;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use keyside_config::{LocalKms, MasterKeySource};
use zeroize::Zeroizing;

pub(crate) use self::local::{MasterKeyFiles, raw_key};
pub use self::{error::KmsError, local::MasterKey};
use crate::sealing;

/// Wraps and unwraps workspace keys. Every driver must pass the contract suite in `contract.rs`.
///
/// A wrapped key unwraps only for the same [`Wrapping`]. Its first byte names the driver
/// ([`FORMATS`]), to distinguish a keyring of another driver from a damaged one.
#[async_trait]
pub trait KeyService: Send + Sync + 'static {
    /// The id of the key that now wraps for `workspace`, or for the installation if it is empty. No
    /// I/O.
    fn name(&self, workspace: &str) -> String;

    /// The id of the key that wrapped `wrapped`, in the form of [`name`](Self::name). No I/O.
    fn wrapped_by(&self, wrapped: &[u8]) -> Option<String>;

    /// Whether this process may create the wrapping key of a new workspace or installation.
    fn can_make_new(&self) -> bool;

    /// Wraps `key`. If the wrapping key does not exist and [`can_make_new`](Self::can_make_new)
    /// allows it, creates it first.
    ///
    /// # Errors
    /// Why not. After [`KmsError::Unavailable`] a retry may succeed.
    async fn wrap(&self, wrapping: &Wrapping<'_>, key: &[u8; 32]) -> Result<Vec<u8>, KmsError>;

    /// Unwraps a key that was wrapped for the same `wrapping`.
    ///
    /// # Errors
    /// Why not. [`KmsError::is_about_one_key`] says whether other keys may still unwrap.
    async fn unwrap(
        &self,
        wrapping: &Wrapping<'_>,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, KmsError>;

    /// Destroys the key that wraps for `workspace` alone, so that copies of its wrapped keys cannot
    /// be unwrapped any more. Can be repeated. Drivers with one key for all workspaces do nothing.
    ///
    /// # Errors
    /// Why the key still exists.
    async fn forget(&self, _workspace: &str) -> Result<(), KmsError> {
        Ok(())
    }
}

/// The associated data of a wrapped key, which prevents using it in place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrapping<'a> {
    /// The installation's id.
    pub installation: &'a str,
    /// The workspace's id; empty for a key of the installation.
    pub workspace: &'a str,
    /// The id of the wrapped key.
    pub key: &'a str,
    /// The public key, in hex, that verifies what is written with this key; empty if nothing is. An
    /// attacker who can write the store but not use the KMS can therefore create nothing that is
    /// trusted.
    pub signer: &'a str,
}

impl<'a> Wrapping<'a> {
    /// For a key that belongs to the installation and to no workspace.
    pub(crate) fn of_installation(installation: &'a str, key: &'a str, signer: &'a str) -> Self {
        Self {
            installation,
            workspace: "",
            key,
            signer,
        }
    }

    /// The bytes to authenticate: purpose, the three ids and the public key, each with its length
    /// (32 bits, big-endian).
    pub fn associated_data(&self) -> Vec<u8> {
        let fields = [
            "keyside wrapped key",
            self.installation,
            self.workspace,
            self.key,
            self.signer,
        ];
        sealing::fields(fields.map(str::as_bytes))
    }
}

/// The first byte of a wrapped key, and the driver that writes it.
pub const FORMATS: [(u8, &str); 2] = [(sealing::FORMAT, "local"), (2, "vault")];

/// An open KMS.
pub struct Kms(Driver);

enum Driver {
    /// The driver whose master keys Keyside rotates itself.
    Local(MasterKeyFiles),
    Service(Arc<dyn KeyService>),
}

/// The settings of a KMS, before it is opened.
#[derive(Clone)]
pub enum KmsSource {
    /// A master key on this machine, which may not exist yet.
    Local(LocalKms),
    /// A connected remote service.
    Service(Arc<dyn KeyService>),
}

impl Kms {
    /// Opens the KMS. `keyring` is its file's path: if it exists, a missing master key is not
    /// replaced by a new one.
    ///
    /// # Errors
    /// What is wrong with the master key, and what to do.
    pub fn open(source: &KmsSource, keyring: &Path) -> Result<Self, KmsError> {
        Ok(Self(match source {
            KmsSource::Local(local) => Driver::Local(MasterKeyFiles::find(local, keyring)?),
            KmsSource::Service(service) => Driver::Service(service.clone()),
        }))
    }

    /// Like [`Self::open`], but never creates a master key: existing data needs the one it was
    /// created with.
    ///
    /// # Errors
    /// What is wrong with the master key, and what to do.
    pub fn open_existing(source: &KmsSource, keyring: &Path) -> Result<Self, KmsError> {
        match source {
            KmsSource::Local(LocalKms {
                master_key: MasterKeySource::Generated(path),
                ..
            }) if !path.exists() => Err(KmsError::NotThere(path.clone())),
            _ => Self::open(source, keyring),
        }
    }

    /// The `local` driver with a given master key.
    pub fn local(master_key: MasterKey) -> Self {
        Self(Driver::Local(MasterKeyFiles::only(master_key)))
    }

    /// The service that wraps and unwraps now. A rotation of the master key replaces it.
    pub(crate) fn service(&self) -> Arc<dyn KeyService> {
        match &self.0 {
            Driver::Local(files) => Arc::new(files.service()),
            Driver::Service(service) => service.clone(),
        }
    }

    /// A service that wraps with the master key `id`. A remote service chooses its keys itself.
    ///
    /// # Errors
    /// [`KmsError::WrongMasterKey`] if that key is not available.
    pub(crate) fn wrapping_with(&self, id: &str) -> Result<Arc<dyn KeyService>, KmsError> {
        match &self.0 {
            Driver::Local(files) => Ok(Arc::new(files.wrapping_with(id)?)),
            Driver::Service(service) => Ok(service.clone()),
        }
    }

    /// The master keys that Keyside rotates itself; `None` for a remote service.
    pub(crate) fn master_key_files(&self) -> Option<&MasterKeyFiles> {
        match &self.0 {
            Driver::Local(files) => Some(files),
            Driver::Service(_) => None,
        }
    }

    pub(crate) fn master_key_files_mut(&mut self) -> Option<&mut MasterKeyFiles> {
        match &mut self.0 {
            Driver::Local(files) => Some(files),
            Driver::Service(_) => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
