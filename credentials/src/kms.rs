//! The key service (KMS) that wraps the workspace keys.
//!
//! It sees a workspace key only while it wraps or unwraps it: at start, when a workspace is created, when keys are wrapped
//! again; never once a request. A driver that asks over a network has a crate of its own.

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

/// Wraps and unwraps workspace keys. A driver passes the contract suite in `contract.rs`.
///
/// What it wraps opens only for the same [`Wrapping`]. Every wrapped key starts with a byte that tells the driver
/// ([`FORMATS`]), so that a keyring under the wrong driver is told from a damaged one.
#[async_trait]
pub trait KeyService: Send + Sync + 'static {
    /// The id of the key that wraps for `workspace` now; of the installation's own key where it is empty. No I/O.
    fn name(&self, workspace: &str) -> String;

    /// The id of the key that has wrapped something, in the form of [`name`](Self::name). No I/O.
    fn wrapped_by(&self, wrapped: &[u8]) -> Option<String>;

    /// Whether this process may create the wrapping key of a new workspace or installation.
    fn can_make_new(&self) -> bool;

    /// Wraps `key`, and creates the wrapping key first where it is missing and [`can_make_new`](Self::can_make_new).
    ///
    /// # Errors
    /// Why not. After [`KmsError::Unavailable`] another attempt may succeed.
    async fn wrap(&self, wrapping: &Wrapping<'_>, key: &[u8; 32]) -> Result<Vec<u8>, KmsError>;

    /// Unwraps what was wrapped for the same `wrapping`.
    ///
    /// # Errors
    /// Why not. [`KmsError::is_about_one_key`] tells whether others may unwrap.
    async fn unwrap(
        &self,
        wrapping: &Wrapping<'_>,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, KmsError>;

    /// Destroys what wraps for `workspace` alone: copies of its wrapped keys do not unwrap any more. Repeating it does no
    /// harm. A driver with one key for all workspaces has nothing to do.
    ///
    /// # Errors
    /// Why it is still there.
    async fn forget(&self, _workspace: &str) -> Result<(), KmsError> {
        Ok(())
    }
}

/// The associated data of a wrapped key: it cannot be passed off as another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrapping<'a> {
    /// The installation it belongs to.
    pub installation: &'a str,
    /// The workspace's id; empty for the installation's own key.
    pub workspace: &'a str,
    /// The id of the key that is wrapped.
    pub key: &'a str,
    /// The public key, in hex, that checks what the holder of the key writes; empty where it writes nothing that is signed.
    /// So who can write the store, and not use the KMS, can make nothing that is believed.
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

    /// Its bytes: a word for their purpose, the three ids and the public key, each behind its length (32 bits, big-endian).
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

/// A KMS, open.
pub struct Kms(Driver);

enum Driver {
    /// The one whose keys Keyside replaces itself.
    Local(MasterKeyFiles),
    Service(Arc<dyn KeyService>),
}

/// Where a KMS comes from, before it is open.
#[derive(Clone)]
pub enum KmsSource {
    /// A master key on this machine, which may still have to be made.
    Local(LocalKms),
    /// A service over the network, connected by its driver.
    Service(Arc<dyn KeyService>),
}

impl Kms {
    /// Opens it. `keyring` is looked at only to refuse to make a new master key where an old one has wrapped something
    /// already.
    ///
    /// # Errors
    /// What is wrong with the master key, and what to do.
    pub fn open(source: &KmsSource, keyring: &Path) -> Result<Self, KmsError> {
        Ok(Self(match source {
            KmsSource::Local(local) => Driver::Local(MasterKeyFiles::find(local, keyring)?),
            KmsSource::Service(service) => Driver::Service(service.clone()),
        }))
    }

    /// The same, where a master key that is not there must not be made: something exists that only it opens.
    ///
    /// # Errors
    /// What is wrong with the master key, and what to do.
    pub fn open_existing(source: &KmsSource, keyring: &Path) -> Result<Self, KmsError> {
        match source {
            KmsSource::Local(LocalKms {
                master_key: MasterKeySource::Generated(path),
                ..
            }) if !path.exists() => Err(KmsError::NotThere { path: path.clone() }),
            _ => Self::open(source, keyring),
        }
    }

    /// The `local` driver with a master key at hand.
    pub fn local(master_key: MasterKey) -> Self {
        Self(Driver::Local(MasterKeyFiles::only(master_key)))
    }

    /// What wraps and unwraps now. A rotation of the master key makes it another one.
    pub(crate) fn service(&self) -> Arc<dyn KeyService> {
        match &self.0 {
            Driver::Local(files) => Arc::new(files.service()),
            Driver::Service(service) => service.clone(),
        }
    }

    /// The same, but wrapping with the master key of this id. A service over the network chooses its keys itself.
    ///
    /// # Errors
    /// [`KmsError::WrongMasterKey`] if that one is not at hand.
    pub(crate) fn wrapping_with(&self, id: &str) -> Result<Arc<dyn KeyService>, KmsError> {
        match &self.0 {
            Driver::Local(files) => Ok(Arc::new(files.wrapping_with(id)?)),
            Driver::Service(service) => Ok(service.clone()),
        }
    }

    /// The master keys that Keyside replaces itself, which is what rotating them means; none if a service rotates its own.
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
