//! Creates a backup of a running installation: one consistent state, while requests and, after a
//! moment, changes continue.
//!
//! Objects are read while no change is in progress, because the next change removes the objects
//! that it replaces. Segments and runs are read afterwards: they are only appended, or lose their
//! oldest.

use std::{path::Path, sync::Arc};

use keyside_store::{StorageError, chain::CommitError, file};
use tokio::sync::mpsc;

use super::{
    format::{Header, Sealer},
    item::{self, Item},
};
use crate::{
    audit::Head,
    chains::{Priority, Tracked},
    keyring::KeyringError,
    model::{ActorContext, random_id},
    record::{Draft, Event},
    registry::{ChangeError, Registry},
    request_context::RequestContext,
};

/// A backup that is being written.
pub struct Backup {
    /// The backup's plaintext header.
    pub header: Header,
    pieces: mpsc::Receiver<Result<Vec<u8>, StorageError>>,
}

impl Backup {
    /// The next piece of the file; `None` after the last.
    ///
    /// # Errors
    /// Storage failed. The pieces so far are not a backup: the end mark is missing.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, StorageError>> {
        self.pieces.recv().await
    }
}

/// A consistent state, captured while changes were blocked.
#[derive(Default)]
struct State {
    keyring: Vec<u8>,
    objects: Vec<Item>,
    /// Written after the objects, because heads name them.
    heads: Vec<Item>,
    /// The number of segments of each chain.
    segments: Vec<(String, u64)>,
    audit: Head,
    /// The position of the last block of runs.
    runs: u64,
}

impl Registry {
    /// Starts a backup and records it. Changes wait while the documents are read; requests do not.
    ///
    /// # Errors
    /// The backup cannot be recorded, or storage failed.
    pub async fn backup(self: &Arc<Self>, by: &ActorContext) -> Result<Backup, ChangeError> {
        self.runs().flush().await;
        let (by, id) = (by.clone(), random_id("bak_"));
        self.run_to_completion(|registry| async move {
            registry.expect_access(&by)?;
            let made = Draft::noted(Event::BackupMade, &by, &*id);
            registry.chains.append_records(vec![made]).await?;
            // Otherwise a clean stop would write these links, and the backup would count as older
            // than the installation. Not before the record: links may use the disk's reserve, and
            // on a full disk a backup is refused.
            registry.link(true).await;
            registry.begin_backup(id).await
        })
        .await
    }

    async fn begin_backup(self: Arc<Self>, id: String) -> Result<Backup, ChangeError> {
        let (key, wrapped, state) = loop {
            // Before changes are blocked: the key service may be slow, and what ends access must not
            // wait for it.
            let (key, wrapped) = self.keyring.new_standalone_key("bk_").await?;
            let _guard = self.block_changes().await;
            let _own = self.chains.installation().lock(Priority::Normal).await;
            let state = self.consistent_state().await?;
            // One master key must open the backup and the keyring in it.
            if self.keyring.master_key().await == wrapped.by {
                break (key, wrapped, state);
            }
        };
        let header = Header {
            id,
            installation: self.keyring.installation().installation().to_owned(),
            epoch: self.chains.epoch(),
            audit: state.audit,
            created_at: self.clock.now(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            master_key: wrapped.by,
            key: key.id().to_owned(),
            wrapped: wrapped.bytes,
        };
        let (to, pieces) = mpsc::channel(PIECES_AHEAD);
        let (sealer, begin) = Sealer::new(&header, key);
        RequestContext::spawn(async move {
            let mut writer = Writer {
                sealer,
                to: to.clone(),
                items: Vec::new(),
                buffered: 0,
            };
            writer.send(begin).await;
            if let Err(error) = self.write(&mut writer, state).await {
                tracing::error!(%error, "a backup failed");
                let _ = to.send(Err(error)).await;
            } else {
                writer.finish().await;
            }
        });
        Ok(Backup { header, pieces })
    }

    /// Captures again if another process has replaced the signing key meanwhile: the captured
    /// keyring would refuse the captured heads.
    async fn consistent_state(&self) -> Result<State, ChangeError> {
        loop {
            let key = self.keyring.public_key();
            let state = self.state().await?;
            if self.keyring.public_key() == key {
                return Ok(state);
            }
        }
    }

    async fn state(&self) -> Result<State, ChangeError> {
        let mut state = State {
            runs: self.chains.backend().runs.last().await?,
            ..State::default()
        };
        let registrations = self.chains.registrations();
        let workspaces = registrations.keys().map(|id| self.chains.of(id));
        let own = self.chains.installation().clone();
        for tracked in workspaces.chain([own.clone()]) {
            self.capture(&tracked, &mut state).await?;
        }
        // Read after the heads: another process adds a workspace's key before the workspace.
        match self.keyring.catch_up().await {
            // Memory may have the only newest keyring that is left.
            Err(error @ KeyringError::Older { .. }) => {
                tracing::error!(%error, "the backup has the keyring that this process knows");
            }
            caught_up => caught_up?,
        }
        state.keyring = self.keyring.to_json().await;
        if let Some(own) = own.state() {
            state.audit = Head {
                position: own.head.records,
                hash: own.head.hash,
            };
        }
        Ok(state)
    }

    /// Captures a chain as it is stored, including damage. A workspace whose head is not trusted is
    /// captured in its last trusted state, if there is one, so that the others can still be backed
    /// up.
    async fn capture(&self, tracked: &Tracked, taken: &mut State) -> Result<(), ChangeError> {
        if let Err(error) = self.chains.refresh(tracked).await {
            let damage = error.into_damage()?;
            let Some(workspace) = tracked.chain.name().workspace_id() else {
                return Err(CommitError::Damaged(damage).into());
            };
            tracing::error!(workspace, %damage, "a damaged chain is backed up in its last trusted state, if there is one");
        }
        let Some(state) = tracked.state() else {
            return Ok(());
        };
        let (name, storage) = (tracked.chain.name(), &self.chains.backend().storage);
        let keys = state.object_keys(name);
        let found = storage.get_all(&keys).await?;
        let objects = keys.into_iter().zip(found);
        taken
            .objects
            .extend(objects.filter_map(|(key, bytes)| Some(Item::Object { key, bytes: bytes? })));
        taken.heads.push(Item::Head {
            chain: name.to_string(),
            bytes: state.bytes().to_vec(),
        });
        let segments = state.head.segment.map_or(0, |last| last.number);
        taken.segments.push((name.to_string(), segments));
        Ok(())
    }

    async fn write(&self, to: &mut Writer, state: State) -> Result<(), StorageError> {
        to.add(Item::Keyring(state.keyring)).await;
        if let Some(token) = owner_token(self.access.token_file()) {
            to.add(token).await;
        }
        for object in state.objects {
            to.add(object).await;
        }
        let backend = self.chains.backend();
        for (chain, last) in state.segments {
            for number in 1..=last {
                if to.to.is_closed() {
                    return Ok(());
                }
                if let Some(bytes) = backend.archive.get(&chain, number).await? {
                    let chain = chain.clone();
                    to.add(Item::Segment {
                        chain,
                        number,
                        bytes,
                    })
                    .await;
                }
            }
        }
        for head in state.heads {
            to.add(head).await;
        }
        self.write_runs(to, state.runs).await
    }

    async fn write_runs(&self, to: &mut Writer, last: u64) -> Result<(), StorageError> {
        let mut from = 1;
        while from <= last && !to.to.is_closed() {
            let blocks = self
                .chains
                .backend()
                .runs
                .read(from, BLOCKS_PER_READ)
                .await?;
            from = blocks.last().map_or(last, |(position, _)| *position) + 1;
            let blocks = blocks.into_iter();
            for (_, block) in blocks.filter(|(position, _)| *position <= last) {
                to.add(Item::Runs(block)).await;
            }
        }
        Ok(())
    }
}

/// The owner token's file. Left out if it cannot be read: the token's document is enough to
/// authenticate it.
fn owner_token(path: &Path) -> Option<Item> {
    let read = file::read_if_exists(path);
    let read =
        read.inspect_err(|error| tracing::warn!(%error, "the owner token is not in the backup"));
    read.ok()
        .flatten()
        .map(|text| Item::OwnerToken(text.into()))
}

/// Groups items into chunks.
struct Writer {
    sealer: Sealer,
    to: mpsc::Sender<Result<Vec<u8>, StorageError>>,
    items: Vec<Item>,
    buffered: usize,
}

impl Writer {
    async fn add(&mut self, item: Item) {
        self.buffered += item.len();
        self.items.push(item);
        if self.buffered >= CHUNK {
            let chunk = item::write(&std::mem::take(&mut self.items));
            self.buffered = 0;
            let piece = self.sealer.chunk(&chunk);
            self.send(piece).await;
        }
    }

    async fn finish(self) {
        let end = self.sealer.finish(&item::write(&self.items));
        let _ = self.to.send(Ok(end)).await;
    }

    /// Ignores a receiver that was dropped.
    async fn send(&self, piece: Vec<u8>) {
        let _ = self.to.send(Ok(piece)).await;
    }
}

/// A chunk is closed after this many bytes of plaintext.
const CHUNK: usize = 256 << 10;
/// Pieces that wait for a slow reader; each is slightly more than a chunk.
const PIECES_AHEAD: usize = 4;
/// Blocks of run records that are in memory at a time.
const BLOCKS_PER_READ: usize = 256;
