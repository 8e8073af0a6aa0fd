//! Chains: sequences of commits, each a compare-and-swap of one signed head.
//!
//! A head names everything that is current in its chain: the pages of its map (documents by name),
//! its newest commits, and the last segment of older commits. An object with the head's sequence
//! number or a lower one that the head does not name is garbage.

mod archive;
mod commit;
mod error;
mod head;
mod load;
mod map;
mod outcome;
mod record;
mod verify;

use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::Mutex;

use self::map::Map;
pub use self::{
    commit::{Change, Prepared, Write},
    error::{CommitError, Damage, LoadError},
    head::{Head, Link, ObjectRef, SegmentRef},
    map::Entry,
    record::StoredRecord,
    verify::Break,
};
use crate::{
    backend::{Archive, Backend, Storage},
    hash::Hash,
    signing::PublicKey,
};

/// One chain of one installation, on its backend.
pub struct Chain {
    name: ChainName,
    /// Installation id. Part of what is signed, so that a head of another installation is refused.
    installation: Arc<str>,
    storage: Arc<dyn Storage>,
    archive: Arc<dyn Archive>,
    /// Hashes of segments, verified by following the links from a signed head. Only segments listed
    /// here, or linked from one, are accepted.
    segments: Mutex<BTreeMap<u64, Hash>>,
    last_read: Mutex<record::ReadCache>,
    last_archived: archive::LastArchived,
}

/// The name of a chain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName(Arc<str>);

/// The state of a chain at one head.
pub struct State {
    /// The verified head.
    pub head: Head,
    /// The head as stored: the `expected` value of the next swap.
    bytes: Vec<u8>,
    /// The public key that the head's signature was verified with.
    signer: PublicKey,
    map: Map,
}

impl Chain {
    /// The chain named `name`. Reads nothing yet.
    pub fn new(name: ChainName, installation: &Arc<str>, backend: &Backend) -> Self {
        Self {
            name,
            installation: installation.clone(),
            storage: backend.storage.clone(),
            archive: backend.archive.clone(),
            segments: Mutex::default(),
            last_read: Mutex::default(),
            last_archived: archive::LastArchived::default(),
        }
    }

    /// This chain for another task.
    fn with_empty_cache(&self) -> Self {
        Self {
            name: self.name.clone(),
            installation: self.installation.clone(),
            storage: self.storage.clone(),
            archive: self.archive.clone(),
            segments: Mutex::default(),
            last_read: Mutex::default(),
            last_archived: self.last_archived.clone(),
        }
    }

    /// The chain's name.
    pub fn name(&self) -> &ChainName {
        &self.name
    }
}

impl State {
    /// All documents, sorted by name.
    pub fn documents(&self) -> impl Iterator<Item = &Entry> {
        self.map.documents()
    }

    /// The document named `name`.
    pub fn document(&self, name: &str) -> Option<&Entry> {
        self.map.get(name)
    }

    /// The storage keys of everything that the head names, except segments.
    pub fn object_keys(&self, chain: &ChainName) -> Vec<String> {
        let objects = self.objects();
        objects.map(|object| chain.object_key(&object)).collect()
    }

    /// The head as stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The public key that the head's signature was verified with.
    pub fn signer(&self) -> PublicKey {
        self.signer
    }
}

impl ChainName {
    /// The installation's chain.
    pub fn installation() -> Self {
        Self("installation".into())
    }

    /// The chain of a workspace.
    pub fn workspace(id: &str) -> Self {
        Self(format!("{WORKSPACE}{id}").into())
    }

    /// The inverse of [`as_str`](Self::as_str).
    pub fn of(name: &str) -> Self {
        Self(name.into())
    }

    /// The workspace's id, if this is a workspace's chain.
    pub fn workspace_id(&self) -> Option<&str> {
        self.0.strip_prefix(WORKSPACE)
    }

    /// `installation`, or `workspace/` and the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The storage key of the head.
    pub fn head_key(&self) -> String {
        format!("{self}/head")
    }

    /// The storage key of an object.
    pub fn object_key(&self, object: &ObjectRef) -> String {
        format!("{self}/object/{:016x}-{}", object.seq, object.hash)
    }

    /// The common prefix of the storage keys of all objects.
    pub fn objects(&self) -> String {
        format!("{self}/object/")
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for ChainName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Debug for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const WORKSPACE: &str = "workspace/";

#[cfg(test)]
mod tests;
