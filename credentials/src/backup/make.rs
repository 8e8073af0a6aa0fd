//! Making a backup of what is running: one consistent state, while requests and, after a moment, changes go on.
//!
//! The documents are taken while no change is under way, and with them is noted how far the logs go. The logs are then
//! read at leisure: up to there they only ever lose their oldest entries.

use tokio::sync::mpsc;

use super::{
    format::{Header, Sealer},
    item::{self, Item},
};
use crate::{
    audit::{Draft, Event, Head},
    file,
    model::random_id,
    registry::{Act, ChangeError, Inner, Registry},
    storage::{Log, StorageError},
};
use std::{path::Path, sync::Arc};

/// A backup on its way out.
pub struct Backup {
    /// What it says of itself.
    pub header: Header,
    pieces: mpsc::Receiver<Result<Vec<u8>, StorageError>>,
}

impl Backup {
    /// The next piece of the file; nothing after the last.
    ///
    /// # Errors
    /// Storage's. What has come so far is then no backup, which its missing end shows.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, StorageError>> {
        self.pieces.recv().await
    }
}

/// What no change touched while it was taken.
struct State {
    keyring: Vec<u8>,
    documents: Vec<Item>,
    audit: Head,
    /// The last block of runs.
    runs: u64,
}

impl Registry {
    /// Begins a backup, and puts it on record. Changes wait while the documents are read; requests do not.
    ///
    /// # Errors
    /// When it cannot be put on record, or storage fails.
    pub async fn backup(&self, by: &Act) -> Result<Backup, ChangeError> {
        self.runs().flush().await;
        let (by, id) = (by.clone(), random_id("bak_"));
        self.to_its_end(|inner| async move {
            inner.expect_access(&by)?;
            inner
                .audit
                .put_on_record(Draft {
                    note: Some(id.clone()),
                    ..Draft::new(Event::BackupMade, &by)
                })
                .await?;
            inner.begin_backup(id).await
        })
        .await
    }
}

impl Inner {
    async fn begin_backup(self: Arc<Self>, id: String) -> Result<Backup, ChangeError> {
        let alone = self.begin_alone().await?;
        let (key, wrapped) = self.keyring.wrapped_alone("bk_").await?;
        let state = self.state().await?;
        let header = Header {
            id,
            installation: self.keyring.installation().installation().to_owned(),
            epoch: self.keyring.epoch().await,
            audit: state.audit,
            created_at: self.clock.now(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            master_key: wrapped.by,
            key: key.id().to_owned(),
            wrapped: wrapped.bytes,
        };
        drop(alone);
        let (to, pieces) = mpsc::channel(PIECES_AHEAD);
        let (sealer, begin) = Sealer::new(&header, key);
        tokio::spawn(async move {
            let mut writer = Writer {
                sealer,
                to: to.clone(),
                items: Vec::new(),
                room: 0,
            };
            writer.send(begin).await;
            if let Err(error) = self.write(&mut writer, state).await {
                tracing::error!(%error, "a backup was not finished");
                let _ = to.send(Err(error)).await;
            } else {
                writer.finish().await;
            }
        });
        Ok(Backup { header, pieces })
    }

    async fn state(&self) -> Result<State, StorageError> {
        let stored = self.storage.list("").await?.into_iter();
        let documents = stored.map(|(key, document)| Item::Document {
            key,
            revision: document.revision,
            body: document.body,
        });
        Ok(State {
            keyring: self.keyring.to_json().await,
            documents: documents.collect(),
            audit: self.audit.head().await,
            runs: self.storage.last(Log::Runs).await?,
        })
    }

    async fn write(&self, to: &mut Writer, state: State) -> Result<(), StorageError> {
        to.add(Item::Keyring(state.keyring)).await;
        if let Some(token) = owner_token(self.access.token_file()) {
            to.add(token).await;
        }
        for document in state.documents {
            to.add(document).await;
        }
        for (log, last) in [(Log::Audit, state.audit.position), (Log::Runs, state.runs)] {
            self.write_log(to, log, last).await?;
        }
        Ok(())
    }

    async fn write_log(&self, to: &mut Writer, log: Log, last: u64) -> Result<(), StorageError> {
        let mut from = 1;
        while from <= last && !to.to.is_closed() {
            let entries = self.storage.entries(log, from, READ_AT_ONCE).await?;
            from = entries.last().map_or(last, |(position, _)| *position) + 1;
            for (position, entry) in entries {
                if position <= last {
                    let log = log.into();
                    to.add(Item::Entry {
                        log,
                        position,
                        entry,
                    })
                    .await;
                }
            }
        }
        Ok(())
    }
}

/// One that cannot be read is left out: the documents have what is needed to recognise it.
fn owner_token(path: &Path) -> Option<Item> {
    let read = file::read_if_there(path);
    let read = read.inspect_err(|error| tracing::warn!(%error, "not in the backup"));
    read.ok()
        .flatten()
        .map(|text| Item::OwnerToken(text.into()))
}

/// Gathers items into chunks.
struct Writer {
    sealer: Sealer,
    to: mpsc::Sender<Result<Vec<u8>, StorageError>>,
    items: Vec<Item>,
    room: usize,
}

impl Writer {
    async fn add(&mut self, item: Item) {
        self.room += item.len();
        self.items.push(item);
        if self.room >= CHUNK {
            let chunk = item::write(&std::mem::take(&mut self.items));
            self.room = 0;
            let piece = self.sealer.chunk(&chunk);
            self.send(piece).await;
        }
    }

    async fn finish(self) {
        let end = self.sealer.finish(&item::write(&self.items));
        let _ = self.to.send(Ok(end)).await;
    }

    /// Nobody may be listening any more; then nobody misses it.
    async fn send(&self, piece: Vec<u8>) {
        let _ = self.to.send(Ok(piece)).await;
    }
}

/// Bytes of plaintext after which a chunk is closed.
const CHUNK: usize = 256 << 10;
const PIECES_AHEAD: usize = 4;
const READ_AT_ONCE: usize = 256;
