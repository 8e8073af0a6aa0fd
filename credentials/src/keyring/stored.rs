//! The keyring file: JSON, readable, and useless without the master key.

use std::{collections::BTreeMap, path::Path};

use jiff::Timestamp;
use keyside_store::{PublicKey, file};
use serde::{Deserialize, Serialize};

use super::KeyringError;
use crate::{encoding::base64_bytes, model::WorkspaceId};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyringFile {
    format: u32,
    pub(crate) installation: String,
    /// How often this installation was restored from a backup.
    #[serde(default)]
    pub(crate) epoch: u64,
    /// The id of the last restored backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restored_from: Option<String>,
    /// Counts the replacements of the file, to detect an older copy that was put in its place.
    #[serde(default)]
    pub(super) generation: u64,
    /// Since when the master key is in use: since it wraps these keys. Earlier versions did not
    /// write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) master_key_since: Option<Timestamp>,
    pub(super) installation_key: WrappedKey,
    pub(super) signing_key: WrappedKey,
    /// The key that verifies heads. Every key is wrapped together with it, so replacing it makes
    /// all keys unusable.
    pub(super) public_key: PublicKey,
    /// Possible successors of the signing key. The installation's chain announces which one
    /// succeeds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) successors: Vec<SuccessorKey>,
    /// Oldest first.
    pub(super) workspaces: BTreeMap<WorkspaceId, Vec<WrappedKey>>,
}

/// A possible successor of the signing key. Both parts are wrapped together with the current public
/// key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SuccessorKey {
    pub(super) key: WrappedKey,
    pub(super) public_key: PublicKey,
    /// The public key, wrapped, for a read-only process that must not unwrap the private key.
    pub(super) wrapped_public: WrappedKey,
}

/// What a wrapped key is bound to: a workspace, or none, and the public key that verifies what is
/// written with it.
#[derive(Clone, Default)]
pub(super) struct KeyBinding(pub(super) String, pub(super) String);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WrappedKey {
    pub(super) id: String,
    #[serde(with = "base64_bytes")]
    pub(super) wrapped: Vec<u8>,
}

impl KeyringFile {
    pub(super) fn new(
        installation: String,
        installation_key: WrappedKey,
        signing_key: WrappedKey,
        public_key: PublicKey,
    ) -> Self {
        Self {
            format: FORMAT,
            installation,
            epoch: 0,
            restored_from: None,
            generation: 0,
            master_key_since: None,
            installation_key,
            signing_key,
            public_key,
            successors: Vec::new(),
            workspaces: BTreeMap::new(),
        }
    }

    /// Whether it has workspace keys, usable or not.
    pub(crate) fn has_workspaces(&self) -> bool {
        !self.workspaces.is_empty()
    }

    /// The keys that may have signed the anchors beside it. Not authenticated.
    pub(crate) fn public_keys(&self) -> impl Iterator<Item = PublicKey> {
        let successors = self.successors.iter().map(|key| key.public_key);
        std::iter::once(self.public_key).chain(successors)
    }

    /// The order of the files of one installation.
    pub(super) fn order(&self) -> (u64, u64) {
        (self.epoch, self.generation)
    }

    /// This file without the workspace keys that are known.
    pub(super) fn without(&self, is_known: impl Fn(&WorkspaceId, &WrappedKey) -> bool) -> Self {
        let mut rest = self.clone();
        rest.workspaces.retain(|workspace, keys| {
            keys.retain(|key| !is_known(workspace, key));
            !keys.is_empty()
        });
        rest
    }

    /// Removes a successor of the signing key, and discards the others.
    pub(super) fn take_successor(&mut self, public: &PublicKey) -> Option<SuccessorKey> {
        let mut successors = self.successors.iter();
        let at = successors.position(|key| key.public_key == *public)?;
        let taken = self.successors.swap_remove(at);
        self.successors.clear();
        Some(taken)
    }

    /// All keys, each with what it is bound to besides the installation.
    pub(super) fn keys_mut(&mut self) -> impl Iterator<Item = (KeyBinding, &mut WrappedKey)> {
        let signer = self.public_key.to_string();
        let of_workspaces = self
            .workspaces
            .iter_mut()
            .flat_map(|(workspace, keys)| keys.iter_mut().map(move |key| (workspace, key)));
        let of_workspaces = of_workspaces.map({
            let signer = signer.clone();
            move |(workspace, key)| (KeyBinding(workspace.to_string(), signer.clone()), key)
        });
        let own = KeyBinding(String::new(), signer);
        let successors = self.successors.iter_mut();
        let successors = successors.flat_map(|key| [&mut key.key, &mut key.wrapped_public]);
        let successors = successors.map({
            let own = own.clone();
            move |key| (own.clone(), key)
        });
        let signing = KeyBinding::default();
        [
            (own, &mut self.installation_key),
            (signing, &mut self.signing_key),
        ]
        .into_iter()
        .chain(successors)
        .chain(of_workspaces)
    }

    /// Reads the file at `path`, if there is one, without unwrapping its keys.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, KeyringError> {
        match file::read_if_exists(path)? {
            Some(json) => Self::parse(&json, path).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn parse(json: &[u8], path: &Path) -> Result<Self, KeyringError> {
        let damaged = |_| KeyringError::Damaged(path.to_owned());
        let head: Head = serde_json::from_slice(json).map_err(damaged)?;
        match head.format {
            FORMAT => serde_json::from_slice(json).map_err(damaged),
            found if found < FORMAT => Err(KeyringError::Development(path.to_owned())),
            found => Err(KeyringError::Newer {
                path: path.to_owned(),
                found,
            }),
        }
    }

    pub(super) fn replace(&self, path: &Path) -> Result<(), KeyringError> {
        Ok(file::replace(path, &self.to_json(), file::owner_only())?)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("our own types serialize")
    }
}

/// Parsed first, to distinguish a later format from damage.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

const FORMAT: u32 = 2;
