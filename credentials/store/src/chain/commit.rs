//! Commits: writes the objects first, then swaps the head. A writer that loses the race has changed
//! nothing, reads the new head and decides again.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::sleep;

use super::{
    Chain, CommitError, Entry, Head, Link, ObjectRef, State,
    archive::Tail,
    head::MAX_HEAD_PAGES,
    load::SALT_LEN,
    map::{Map, Page},
    record::Batch,
};
use crate::{
    backend::{CommitStep, StoredCommit},
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

/// A commit that is built, and of which nothing is written yet.
pub struct Prepared {
    /// The state that it is based on; `None` for the first commit.
    on: Option<Arc<State>>,
    state: Arc<State>,
    stored: StoredCommit,
}

impl Prepared {
    /// The state that the commit leads to.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    fn unknown(&self, error: StorageError) -> CommitError {
        CommitError::OutcomeUnknown {
            seq: self.state.head.seq,
            error,
        }
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
        let prepared = self.prepare(on, key, change).await?;
        self.write(&prepared, key).await?;
        self.tidy(&prepared).await;
        Ok(prepared.state)
    }

    /// Builds a commit on top of `on`, or as the chain's first commit.
    ///
    /// # Errors
    /// As with [`Self::commit`].
    pub async fn prepare(
        &self,
        on: Option<&Arc<State>>,
        key: &dyn Signer,
        change: Change,
    ) -> Result<Prepared, CommitError> {
        let effect = change.effect;
        let mut attempt = Attempt::new(self, on);
        let state = match attempt.prepare(key, change).await {
            Ok(state) => Arc::new(state),
            Err(error) => return Err(self.race_if_replaced(on, error).await),
        };
        let stored = StoredCommit {
            effect,
            objects: attempt.objects,
            head: self.name.head_key(),
            expected: on.map(|on| on.bytes.clone()),
            bytes: state.bytes.clone(),
        };
        Ok(Prepared {
            on: on.cloned(),
            state,
            stored,
        })
    }

    /// Writes a commit. Returns when it is on disk; then [`Self::tidy`] removes what it replaced.
    ///
    /// # Errors
    /// As with [`Self::commit`].
    pub async fn write(&self, prepared: &Prepared, key: &dyn Signer) -> Result<(), CommitError> {
        let Err((step, error)) = self.storage.commit(&prepared.stored).await else {
            return Ok(());
        };
        let failed = match step {
            CommitStep::Begin => return Err(CommitError::NotBegun(error)),
            CommitStep::Objects => CommitError::NotBegun(error),
            CommitStep::Swap => match self.settle_swap(prepared, key, error).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            CommitStep::Sync => prepared.unknown(error),
        };
        // Otherwise the swap may have happened, so the objects must stay.
        if let CommitError::NotBegun(_) | CommitError::Raced = failed {
            let objects = prepared.stored.objects.iter();
            self.delete_garbage(objects.map(|(key, _)| key.clone()).collect())
                .await;
        }
        Err(failed)
    }

    /// Deletes what a commit that is on disk replaced, and begins to write the next segment. Not
    /// before: until the new head is on disk, a power cut brings the previous one back.
    pub async fn tidy(&self, Prepared { on, state, .. }: &Prepared) {
        if let Some(on) = on {
            self.delete_garbage(self.replaced(on, state)).await;
        }
        self.archive_ahead(state);
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

    /// Finds out what a swap that has failed means. If no answer arrived, sends the same swap again,
    /// which is idempotent, and then syncs it to disk.
    async fn settle_swap(
        &self,
        prepared: &Prepared,
        key: &dyn Signer,
        first: StorageError,
    ) -> Result<(), CommitError> {
        let unknown = |error| prepared.unknown(error);
        let (state, stored) = (&prepared.state, &prepared.stored);
        let (mut attempts, mut error) = (1, first);
        loop {
            match error {
                StorageError::Full { .. } | StorageError::ReadOnly if attempts == 1 => {
                    return Err(CommitError::NotBegun(error));
                }
                StorageError::Conflict { .. } => {
                    let now = self.head_bytes().await.map_err(unknown)?;
                    if now.as_ref() == Some(&stored.bytes) {
                        break;
                    }
                    // A conflict at the first attempt is a definite answer: nothing was written.
                    // After a lost answer, an earlier attempt may have succeeded and others may
                    // have committed on top of it: then its objects must stay.
                    if attempts == 1
                        || !self
                            .is_ancestor_of_head(prepared.on.as_ref(), state, key)
                            .await
                            .map_err(unknown)?
                    {
                        return Err(CommitError::Raced);
                    }
                    break;
                }
                StorageError::Failed { .. } => return Err(unknown(error)),
                _ if attempts == MAX_SWAP_ATTEMPTS => return Err(unknown(error)),
                _ => sleep(SWAP_RETRY_DELAY).await,
            }
            attempts += 1;
            let StoredCommit { head, expected, .. } = stored;
            let swap = self.storage.swap(head, expected.as_deref(), &stored.bytes);
            match swap.await {
                Ok(()) => break,
                Err(again) => error = again,
            }
        }
        self.storage.sync().await.map_err(unknown)
    }

    /// The keys of the objects that the previous head named and this one does not.
    fn replaced(&self, before: &State, now: &State) -> Vec<String> {
        let named: HashSet<_> = now.objects().collect();
        let garbage = before.objects().filter(|object| !named.contains(object));
        garbage
            .map(|object| self.name.object_key(&object))
            .collect()
    }

    /// Deletes objects that no head names. What cannot be deleted is left to the next sweep.
    async fn delete_garbage(&self, keys: Vec<String>) {
        if let Err(error) = self.storage.delete_all(&keys).await {
            tracing::debug!(chain = %self.name, %error, "garbage is left to the next sweep");
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
        self.storage.delete_all(&garbage).await?;
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
    /// The objects to write, by key.
    objects: Vec<(String, Vec<u8>)>,
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
            objects: Vec::new(),
        }
    }

    /// Builds the objects, and the head that names them.
    async fn prepare(&mut self, key: &dyn Signer, change: Change) -> Result<State, CommitError> {
        let before = self.on.map(|on| &on.head);
        let tail = match before {
            Some(before) => self.next_tail(before, change.effect).await?,
            None => Tail::default(),
        };
        let mut map = self.on.map(|on| on.map.clone()).unwrap_or_default();
        for write in change.writes {
            self.apply(&mut map, write);
        }
        map.check_capacity(self.on.map(|on| &on.map))?;
        self.add_pages(&mut map);
        let batch = self.batch(before, change.at, change.records)?;
        let object = self.add(&encoded(&batch));
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
        debug_assert!(
            bytes.len() <= Head::MAX_LEN,
            "a head of {} bytes",
            bytes.len()
        );
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
        let merged = self.add(&merged);
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

    fn apply(&mut self, map: &mut Map, write: Write) {
        let Some(body) = write.body else {
            map.remove(&write.name);
            return;
        };
        let before = map.get(&write.name).map_or(0, |before| before.revision);
        map.insert(Entry {
            revision: before + write.revisions,
            name: write.name.into(),
            object: self.add(&body),
        });
    }

    /// Adds the pages that have changed, and the index of many pages.
    fn add_pages(&mut self, map: &mut Map) {
        for page in &mut map.pages {
            if page.object.is_none() {
                *page = Arc::new(Page {
                    object: Some(self.add(&encoded(&page.entries))),
                    entries: page.entries.clone(),
                });
            }
        }
        map.index =
            (map.pages.len() > MAX_HEAD_PAGES).then(|| self.add(&encoded(&map.page_objects())));
    }

    fn add(&mut self, body: &[u8]) -> ObjectRef {
        let bytes = [&self.salt[..], body].concat();
        let object = ObjectRef {
            seq: self.seq,
            hash: Hash::of(&bytes),
        };
        self.objects
            .push((self.chain.name.object_key(&object), bytes));
        object
    }
}

fn encoded<T: serde::Serialize>(contents: &T) -> Vec<u8> {
    postcard::to_extend(contents, Vec::new()).expect("names, numbers and bytes serialize")
}

/// Attempts of a swap that gets no answer.
const MAX_SWAP_ATTEMPTS: u32 = 3;
/// Pause before a swap without an answer is sent again.
const SWAP_RETRY_DELAY: Duration = Duration::from_millis(50);
