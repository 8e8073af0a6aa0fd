//! Commits: writes the objects first, then swaps the head. A writer that loses the race has changed
//! nothing, reads the new head and decides again.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::sleep;

use super::{
    Chain, CommitError, Entry, Head, Link, ObjectRef, State,
    archive::Tail,
    head::{HEAD_LIMIT, MAX_HEAD_PAGES},
    load::SALT_LEN,
    map::{Map, Page},
    record::Batch,
};
use crate::{
    error::{Effect, StorageError},
    hash::Hash,
    signing::Signer,
};

/// One change of a chain, to be committed.
#[derive(Clone, Debug)]
pub struct Change {
    /// Time of the commit, in microseconds since the Unix epoch.
    pub at: i64,
    /// How many times the installation was restored from a backup.
    pub epoch: u64,
    /// Incarnation of the chain's workspace: increases when a workspace is created again after it
    /// was erased.
    pub incarnation: u64,
    /// What the change does to existing access; decides how full the disk may be.
    pub effect: Effect,
    /// Audit records of the change: at least one, each of at most [`Change::MAX_RECORD_LEN`] bytes.
    pub records: Vec<Vec<u8>>,
    /// Documents to write and delete.
    pub writes: Vec<Write>,
    /// The installation's head that the change was decided on.
    pub decided_on: Option<Link>,
}

/// One document to write or delete.
#[derive(Clone, Debug)]
pub struct Write {
    /// The document's name within its chain.
    pub name: String,
    /// The new contents; `None` deletes the document.
    pub body: Option<Vec<u8>>,
    /// Revisions that it adds to the document: 1, or more if it replaces earlier writes of the same
    /// commit.
    pub revisions: u64,
}

impl Change {
    /// Maximum length of a record, in bytes.
    pub const MAX_RECORD_LEN: usize = 4096;
}

impl Write {
    /// Writes a document.
    pub fn put(name: impl Into<String>, body: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            body: Some(body),
            revisions: 1,
        }
    }

    /// Deletes a document.
    pub fn remove(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            body: None,
            revisions: 1,
        }
    }

    /// This write in place of an `earlier` one of the same document, which is not on disk yet.
    #[must_use]
    pub fn replacing(mut self, earlier: &Self) -> Self {
        self.revisions += earlier.revisions;
        self
    }
}

impl Chain {
    /// Commits a change on top of `on`, or as the chain's first commit. Returns when it is on disk.
    ///
    /// # Errors
    /// Only [`CommitError::OutcomeUnknown`] leaves open whether the change was made; after any
    /// other error nothing has changed.
    pub async fn commit(
        &self,
        on: Option<&Arc<State>>,
        key: &dyn Signer,
        change: Change,
    ) -> Result<Arc<State>, CommitError> {
        let space = self.storage.check_disk_space(change.effect).await;
        space.map_err(CommitError::NotBegun)?;
        let mut attempt = Attempt::new(self, on);
        let state = match attempt.prepare(key, change).await {
            Ok(state) => Arc::new(state),
            Err(error) => {
                attempt.delete_written().await;
                return Err(self.race_if_replaced(on, error).await);
            }
        };
        match self.swap(on, &state, key).await {
            Ok(()) => {}
            Err(CommitError::Raced) => {
                attempt.delete_written().await;
                return Err(CommitError::Raced);
            }
            // The swap may have happened, so the objects must stay; otherwise a sweep deletes them.
            Err(error) => return Err(error),
        }
        // Only now: until the new head is on disk, a power cut brings the previous one back.
        if let Some(on) = on {
            self.delete_replaced(on, &state).await;
        }
        self.archive_ahead(&state);
        Ok(state)
    }

    /// Objects that a head names are deleted once that head is replaced. If one is missing for that
    /// reason, the commit has lost a race, and the chain is not damaged.
    async fn race_if_replaced(&self, on: Option<&Arc<State>>, error: CommitError) -> CommitError {
        let (CommitError::Damaged(_), Some(on)) = (&error, on) else {
            return error;
        };
        match self.head_bytes().await {
            Ok(Some(now)) if now != on.bytes => CommitError::Raced,
            _ => error,
        }
    }

    /// Swaps the head and syncs it to disk. If no answer arrives, retries the same swap, which is
    /// idempotent.
    async fn swap(
        &self,
        on: Option<&Arc<State>>,
        state: &Arc<State>,
        key: &dyn Signer,
    ) -> Result<(), CommitError> {
        let expected = on.map(|on| on.bytes.as_slice());
        let head_key = self.name.head_key();
        let unknown = |error| CommitError::OutcomeUnknown {
            seq: state.head.seq,
            error,
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            let swapped = self.storage.swap(&head_key, expected, &state.bytes).await;
            match swapped {
                Ok(()) => break,
                Err(error @ (StorageError::Full { .. } | StorageError::ReadOnly))
                    if attempts == 1 =>
                {
                    return Err(CommitError::NotBegun(error));
                }
                Err(StorageError::Conflict { .. }) => {
                    let stored = self.head_bytes().await.map_err(unknown)?;
                    if stored.as_deref() == Some(&state.bytes) {
                        break;
                    }
                    // A conflict at the first attempt is a definite answer: nothing was written.
                    // After a lost answer, an earlier attempt may have succeeded and others may
                    // have committed on top of it: then its objects must stay.
                    if attempts == 1
                        || !self
                            .is_ancestor_of_head(on, state, key)
                            .await
                            .map_err(unknown)?
                    {
                        return Err(CommitError::Raced);
                    }
                    break;
                }
                Err(error @ StorageError::Failed { .. }) => return Err(unknown(error)),
                Err(error) if attempts == MAX_SWAP_ATTEMPTS => return Err(unknown(error)),
                Err(_) => sleep(SWAP_RETRY_DELAY).await,
            }
        }
        self.storage.sync().await.map_err(unknown)
    }

    /// Deletes the objects that the previous head named and this one does not. A failed deletion is
    /// left to the next sweep.
    async fn delete_replaced(&self, before: &State, now: &State) {
        let named: HashSet<_> = now.objects().collect();
        let garbage = before.objects().filter(|object| !named.contains(object));
        for object in garbage.collect::<Vec<_>>() {
            let deleted = self.storage.delete(&self.name.object_key(&object)).await;
            if let Err(error) = deleted {
                tracing::debug!(chain = %self.name, %error, "garbage is left to the next sweep");
                return;
            }
        }
    }

    /// Deletes all objects up to the state's sequence number that it does not name: the remains of
    /// crashes and lost races. Returns the number of deleted objects.
    ///
    /// # Errors
    /// The backend's.
    pub async fn sweep(&self, state: &State) -> Result<usize, StorageError> {
        let named: HashSet<_> = state
            .objects()
            .map(|object| self.name.object_key(&object))
            .collect();
        let last = self.name.object_key(&ObjectRef {
            seq: state.head.seq + 1,
            hash: Hash::default(),
        });
        let keys = self.storage.list(&self.name.objects()).await?;
        // Objects with a higher sequence number belong to a commit in progress.
        let garbage: Vec<_> = keys
            .into_iter()
            .filter(|key| *key < last && !named.contains(key))
            .collect();
        if !garbage.is_empty() {
            // The head may not be on disk yet, and then a power cut brings the previous one back.
            self.storage.sync().await?;
        }
        for key in &garbage {
            self.storage.delete(key).await?;
        }
        Ok(garbage.len())
    }
}

impl State {
    /// Every object that the head names.
    pub(super) fn objects(&self) -> impl Iterator<Item = ObjectRef> {
        self.map.objects().chain(self.head.tail.iter().copied())
    }
}

/// A commit whose head is not swapped yet.
struct Attempt<'a> {
    chain: &'a Chain,
    on: Option<&'a Arc<State>>,
    seq: u64,
    salt: [u8; SALT_LEN],
    written: Vec<ObjectRef>,
}

impl<'a> Attempt<'a> {
    fn new(chain: &'a Chain, on: Option<&'a Arc<State>>) -> Self {
        let mut salt = [0; SALT_LEN];
        let filled = SystemRandom::new().fill(&mut salt);
        filled.expect("the system's random number generator answers");
        Self {
            chain,
            on,
            seq: on.map_or(0, |on| on.head.seq) + 1,
            salt,
            written: Vec::new(),
        }
    }

    /// Writes the objects, and builds the head that names them.
    async fn prepare(&mut self, key: &dyn Signer, change: Change) -> Result<State, CommitError> {
        let before = self.on.map(|on| &on.head);
        let tail = match before {
            Some(before) => self.next_tail(before, change.effect).await?,
            None => Tail::default(),
        };
        let mut map = self.on.map(|on| on.map.clone()).unwrap_or_default();
        for write in change.writes {
            self.apply(&mut map, write).await?;
        }
        map.check_capacity()?;
        self.write_pages(&mut map).await?;
        let batch = self.batch(before, change.at, change.records)?;
        let object = self.put(&encoded(&batch)).await?;
        let head = Head {
            epoch: change.epoch,
            incarnation: change.incarnation,
            seq: self.seq,
            at: change.at,
            records: batch.end(),
            hash: batch.hash(),
            pages: match map.index {
                Some(_) => Vec::new(),
                None => map.page_objects(),
            },
            index: map.index,
            tail: tail.objects.into_iter().chain([object]).collect(),
            segment: tail.segment,
            decided_on: change.decided_on,
        };
        let bytes = head.sign(&self.chain.name, &self.chain.installation, key);
        debug_assert!(bytes.len() <= HEAD_LIMIT, "a head of {} bytes", bytes.len());
        Ok(State {
            head,
            bytes,
            signer: key.public(),
            map,
        })
    }

    /// The earlier commits that the new head names. If the segment that a full tail needs cannot be
    /// written, a change that ends a use of a key is still made: two objects of the tail become one.
    async fn next_tail(&mut self, head: &Head, effect: Effect) -> Result<Tail, CommitError> {
        let error = match self.chain.next_tail(head).await {
            Err(error @ CommitError::NotBegun(_)) if effect >= Effect::EndsUse => error,
            next => return next,
        };
        let Some((position, batches)) = self.chain.mergeable(head).await? else {
            return Err(error);
        };
        let merged: Vec<_> = batches.iter().flat_map(encoded).collect();
        let merged = self.put(&merged).await?;
        let mut objects = head.tail.clone();
        objects[position] = merged;
        objects.remove(position + 1);
        Ok(Tail {
            objects,
            segment: head.segment,
        })
    }

    fn batch(
        &self,
        before: Option<&Head>,
        at: i64,
        records: Vec<Vec<u8>>,
    ) -> Result<Batch, CommitError> {
        let too_long = records
            .iter()
            .find(|record| record.len() > Change::MAX_RECORD_LEN);
        if let Some(record) = too_long {
            return Err(CommitError::RecordTooLong {
                len: record.len(),
                limit: Change::MAX_RECORD_LEN,
            });
        }
        Ok(Batch {
            seq: self.seq,
            at,
            before: before.map_or(0, |before| before.records),
            previous: before.map(|before| before.hash).unwrap_or_default(),
            records,
        })
    }

    async fn apply(&mut self, map: &mut Map, write: Write) -> Result<(), CommitError> {
        let Some(body) = write.body else {
            map.remove(&write.name);
            return Ok(());
        };
        let before = map.get(&write.name).map_or(0, |before| before.revision);
        map.insert(Entry {
            revision: before + write.revisions,
            name: write.name.into(),
            object: self.put(&body).await?,
        });
        Ok(())
    }

    async fn write_pages(&mut self, map: &mut Map) -> Result<(), CommitError> {
        for page in &mut map.pages {
            if page.object.is_none() {
                *page = Arc::new(Page {
                    object: Some(self.put(&encoded(&page.entries)).await?),
                    entries: page.entries.clone(),
                });
            }
        }
        map.index = match map.pages.len() > MAX_HEAD_PAGES {
            true => Some(self.put(&encoded(&map.page_objects())).await?),
            false => None,
        };
        Ok(())
    }

    async fn put(&mut self, body: &[u8]) -> Result<ObjectRef, CommitError> {
        let bytes = [&self.salt[..], body].concat();
        let object = ObjectRef {
            seq: self.seq,
            hash: Hash::of(&bytes),
        };
        self.written.push(object);
        let key = self.chain.name.object_key(&object);
        let put = self.chain.storage.put_new(&key, &bytes).await;
        put.map_err(CommitError::NotBegun)?;
        Ok(object)
    }

    /// Deletes the objects of a failed attempt. A failed deletion is left to the next sweep.
    async fn delete_written(self) {
        for object in &self.written {
            let key = self.chain.name.object_key(object);
            if self.chain.storage.delete(&key).await.is_err() {
                return;
            }
        }
    }
}

fn encoded<T: serde::Serialize>(contents: &T) -> Vec<u8> {
    postcard::to_extend(contents, Vec::new()).expect("names, numbers and bytes serialize")
}

/// Attempts of a swap that gets no answer.
const MAX_SWAP_ATTEMPTS: u32 = 3;
/// Pause before a swap without an answer is sent again.
const SWAP_RETRY_DELAY: Duration = Duration::from_millis(50);
