//! Chains: sequences of commits, each a swap of one signed head.
//!
//! A head names everything that is true of its chain now: the pages of its map (documents by name), its newest commits, and
//! the last segment of older ones. What it does not name, at or below its sequence number, is garbage at once.

mod commit;
mod error;
mod head;
mod load;
mod map;
mod record;
mod verify;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use self::map::Map;
pub use self::{
    commit::{Change, Write},
    error::{CommitError, Damage, LoadError},
    head::{Head, Link, ObjectRef, SegmentRef},
    map::Entry,
    record::StoredRecord,
    verify::{Break, Verified},
};
use crate::{
    backend::{Archive, Backend, Storage},
    hash::Hash,
    signing::PublicKey,
};

/// One chain of one installation, and where it is kept.
pub struct Chain {
    name: ChainName,
    /// Signed with every head: a chain of another installation is another chain.
    installation: Arc<str>,
    storage: Arc<dyn Storage>,
    archive: Arc<dyn Archive>,
    /// Hashes of segments, as far as they were followed from a head: only what they vouch for is read.
    segments: Mutex<BTreeMap<u64, Hash>>,
    last_read: Mutex<record::ReadCache>,
}

/// What a chain is called.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName(Arc<str>);

/// A chain as one head has it.
pub struct State {
    /// The head.
    pub head: Head,
    /// The head as it is stored: what the next swap expects.
    bytes: Vec<u8>,
    /// What it is signed with.
    signer: PublicKey,
    map: Map,
}

impl Chain {
    /// The chain of this name. Reads nothing yet.
    pub fn new(name: ChainName, installation: &Arc<str>, backend: &Backend) -> Self {
        Self {
            name,
            installation: installation.clone(),
            storage: backend.storage.clone(),
            archive: backend.archive.clone(),
            segments: Mutex::default(),
            last_read: Mutex::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &ChainName {
        &self.name
    }
}

impl State {
    /// The documents, by name.
    pub fn documents(&self) -> impl Iterator<Item = &Entry> {
        self.map.documents()
    }

    /// The document of this name.
    pub fn document(&self, name: &str) -> Option<&Entry> {
        self.map.get(name)
    }

    /// The keys of everything that the head names, but for segments.
    pub fn object_keys(&self, chain: &ChainName) -> Vec<String> {
        let objects = self.objects();
        objects.map(|object| chain.object_key(&object)).collect()
    }

    /// The head as it is stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The public key that the head was checked with.
    pub fn signer(&self) -> PublicKey {
        self.signer
    }
}

impl ChainName {
    /// The installation's own chain.
    pub fn installation() -> Self {
        Self("installation".into())
    }

    /// The chain of a workspace.
    pub fn workspace(id: &str) -> Self {
        Self(format!("{WORKSPACE}{id}").into())
    }

    /// The chain that [`as_str`](Self::as_str) names.
    pub fn of(name: &str) -> Self {
        Self(name.into())
    }

    /// The id of the workspace, if it is one's chain.
    pub fn workspace_id(&self) -> Option<&str> {
        self.0.strip_prefix(WORKSPACE)
    }

    /// `installation`, or `workspace/` and an id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of its head.
    pub fn head_key(&self) -> String {
        format!("{self}/head")
    }

    /// The key of one of its objects.
    pub fn object_key(&self, object: &ObjectRef) -> String {
        format!("{self}/object/{:016x}-{}", object.seq, object.hash)
    }

    /// What the keys of all its objects begin with.
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
