//! How a change is made so that a crash at any moment leaves it either whole or not begun.
//!
//! 1. The new documents are written aside, as pending.
//! 2. The audit record that carries their hashes is appended and brought to disk. From here on the change has happened.
//! 3. The documents are put in their places, and the pending copy is removed.
//!
//! One wait for the disk a change, shared with whoever else waits. A crash before 2 is complete leaves a pending copy that
//! no record speaks of: it is dropped. A crash after leaves one that a record speaks of: it is carried out when the
//! store is opened next. The same on sled and on a store across a network: the order of the writes is all it takes.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use crate::{
    audit::{Audit, Draft, Head, Lead},
    authentic::Hash,
    encoding::base64_bytes,
    ledger::Ledger,
    model::random_id,
    storage::{Document, Effect, Storage, StorageError},
};

/// Makes changes.
pub(crate) struct Journal {
    storage: Arc<dyn Storage>,
    audit: Arc<Audit>,
    /// A change stopped half-way: what is in memory may be behind what is stored.
    unsettled: AtomicBool,
}

/// One document to write or remove.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) key: String,
    /// The revision it replaces, 0 for a new one.
    pub(crate) expected: u64,
    /// Nothing removes it.
    pub(crate) body: Option<Body>,
}

/// The bytes of a document.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Body(#[serde(with = "base64_bytes")] pub(crate) Vec<u8>);

/// What is on record and was not carried out, because the disk is full.
#[derive(Default)]
pub(crate) struct Unfinished {
    /// What storage said, if there is something left to do.
    pub(crate) full: Option<StorageError>,
    /// The last write of each document that was not written.
    writes: Vec<Write>,
}

/// A pending copy found in storage.
pub(crate) struct Pending {
    change: String,
    revision: u64,
    /// Nothing when it cannot be read; then it is of no use.
    writes: Vec<Write>,
}

impl Journal {
    pub(crate) fn new(storage: Arc<dyn Storage>, audit: Arc<Audit>) -> Self {
        Self {
            storage,
            audit,
            unsettled: AtomicBool::new(false),
        }
    }

    /// Makes one change. Returns where its record stands.
    ///
    /// # Errors
    /// Storage's. The change was not made then; only if storage failed while the record was brought to disk, it may turn
    /// out to have been made when the journal is settled. [`Self::is_unsettled`] says so until then.
    pub(crate) async fn commit(
        &self,
        draft: Draft,
        writes: Vec<Write>,
    ) -> Result<Head, StorageError> {
        self.commit_all(draft, Vec::new(), writes).await
    }

    /// Makes one change of which more is to be said than fits one record. The first one makes it happen, and its place in
    /// the log is what is returned.
    ///
    /// # Errors
    /// As with [`Self::commit`].
    pub(crate) async fn commit_all(
        &self,
        draft: Draft,
        besides: Vec<Draft>,
        writes: Vec<Write>,
    ) -> Result<Head, StorageError> {
        self.storage.expect_room(draft.effect).await?;
        let change = random_id("chg_");
        let pending = format!("{PENDING}{change}");
        let copy = serde_json::to_vec(&writes).expect("keys and base64 serialize");
        let revision = self.storage.put(&pending, 0, copy).await?;
        // What fails from here on may have reached the store all the same.
        let head = self.unsettle_if_failed(self.record(draft, besides, change, &writes).await)?;
        // The change has happened. What storage does not take now, it takes before the next change.
        let carried_out = self.carry_out_all(writes, &pending, revision).await;
        if let Err(error) = self.unsettle_if_failed(carried_out) {
            tracing::warn!(%error, "a change is on record, and its documents will follow");
        }
        Ok(head)
    }

    /// Whether there is room for a change: for who has something else to write before.
    pub(crate) async fn expect_room(&self, effect: Effect) -> Result<(), StorageError> {
        self.storage.expect_room(effect).await
    }

    async fn carry_out_all(
        &self,
        writes: Vec<Write>,
        pending: &str,
        revision: u64,
    ) -> Result<(), StorageError> {
        for write in writes {
            self.carry_out(write).await?;
        }
        self.storage.remove(pending, revision).await
    }

    async fn record(
        &self,
        draft: Draft,
        besides: Vec<Draft>,
        change: String,
        writes: &[Write],
    ) -> Result<Head, StorageError> {
        let documents = writes.iter().map(Write::lead).collect();
        let head = self
            .audit
            .append(Draft {
                change: Some(change),
                documents,
                ..draft
            })
            .await?;
        let mut last = head;
        for draft in besides {
            last = self.audit.append(draft).await?;
        }
        self.audit.to_disk(last).await?;
        Ok(head)
    }

    async fn carry_out(&self, write: Write) -> Result<(), StorageError> {
        match write.body {
            Some(Body(body)) => self
                .storage
                .put(&write.key, write.expected, body)
                .await
                .map(drop),
            None => self.storage.remove(&write.key, write.expected).await,
        }
    }

    fn unsettle_if_failed<T>(&self, outcome: Result<T, StorageError>) -> Result<T, StorageError> {
        if outcome.is_err() {
            self.unsettle();
        }
        outcome
    }

    /// Notes that something which is on record is still to be carried out.
    pub(crate) fn unsettle(&self) {
        self.unsettled.store(true, Ordering::Release);
    }

    /// Notes that everything on record is carried out, and what is in memory is what is stored.
    pub(crate) fn settled(&self) {
        self.unsettled.store(false, Ordering::Release);
    }

    /// Whether a change stopped half-way.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled.load(Ordering::Acquire)
    }

    /// The pending copies in storage.
    pub(crate) async fn pending(&self) -> Result<Vec<Pending>, StorageError> {
        Ok(self
            .storage
            .list(PENDING)
            .await?
            .into_iter()
            .map(Pending::read)
            .collect())
    }

    /// Carries out what is on record, and drops what is not. A full disk is no error: what could not be carried out has
    /// happened all the same, and its copies stay for the next time.
    pub(crate) async fn settle(
        &self,
        pending: Vec<Pending>,
        ledger: &Ledger,
    ) -> Result<Unfinished, StorageError> {
        let mut unfinished = Unfinished::default();
        let copies: Vec<_> = pending
            .iter()
            .map(|it| (format!("{PENDING}{}", it.change), it.revision))
            .collect();
        for (key, writes) in by_document(pending, ledger) {
            let rolled = self.roll_forward(&key, writes, ledger, &mut unfinished);
            rolled.await?;
        }
        if unfinished.full.is_none() && !copies.is_empty() {
            let dropped = self.drop_copies(&copies).await;
            unfinished.had_no_room(dropped)?;
        }
        Ok(unfinished)
    }

    async fn drop_copies(&self, copies: &[(String, u64)]) -> Result<(), StorageError> {
        for (copy, revision) in copies {
            self.storage.remove(copy, *revision).await?;
        }
        self.storage.sync().await
    }

    /// Only what leads up to the last word on the document, and only over what it was meant to replace: a pending copy is
    /// no more to be trusted than anything else in storage.
    async fn roll_forward(
        &self,
        key: &str,
        writes: Vec<Write>,
        ledger: &Ledger,
        unfinished: &mut Unfinished,
    ) -> Result<(), StorageError> {
        let stored = self.storage.read(key).await?;
        if ledger.is_last(key, stored.as_ref().map(|document| &*document.body)) {
            return Ok(());
        }
        let left = left_of(writes, stored.map_or(0, |document| document.revision));
        let leads_up = left
            .last()
            .is_some_and(|write| ledger.is_last(key, write.bytes()));
        if !leads_up {
            return Ok(());
        }
        for write in &left {
            let carried_out = self.carry_out(write.clone()).await;
            if unfinished.had_no_room(carried_out)? {
                unfinished.writes.extend(left.last().cloned());
                break;
            }
        }
        Ok(())
    }
}

/// What the changes that are on record write, in their order: one may have begun while another was not carried out yet.
fn by_document(pending: Vec<Pending>, ledger: &Ledger) -> BTreeMap<String, Vec<Write>> {
    let mut on_record = BTreeMap::new();
    for pending in pending {
        if let Some(position) = ledger.position_of(&pending.change) {
            tracing::info!(
                change = pending.change,
                "finishing a change that was cut off"
            );
            on_record.insert(position, pending.writes);
        }
    }
    let mut by_document: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for write in on_record.into_values().flatten() {
        let of_document = by_document.entry(write.key.clone()).or_default();
        of_document.push(write);
    }
    by_document
}

/// Those that follow on each other from revision `stored` on. The ones before them were carried out already.
fn left_of(writes: Vec<Write>, mut stored: u64) -> Vec<Write> {
    let mut follows = |write: &Write| {
        let follows = write.expected == stored;
        if follows {
            stored = write.body.as_ref().map_or(0, |_| stored + 1);
        }
        follows
    };
    writes.into_iter().filter(|write| follows(write)).collect()
}

impl Unfinished {
    /// Whether the disk was too full for it.
    fn had_no_room(&mut self, outcome: Result<(), StorageError>) -> Result<bool, StorageError> {
        match outcome {
            Err(full @ StorageError::Full { .. }) => {
                self.full = Some(full);
                Ok(true)
            }
            outcome => outcome.map(|()| false),
        }
    }

    /// The documents under `prefix` as they are on record, given those that are stored.
    pub(crate) fn over(
        &self,
        prefix: &str,
        stored: Vec<(String, Document)>,
    ) -> Vec<(String, Document)> {
        let mut documents: BTreeMap<_, _> = stored.into_iter().collect();
        for write in &self.writes {
            if !write.key.starts_with(prefix) {
                continue;
            }
            match write.bytes() {
                Some(body) => {
                    let document = Document {
                        revision: write.expected + 1,
                        body: body.to_vec(),
                    };
                    documents.insert(write.key.clone(), document);
                }
                None => {
                    documents.remove(&write.key);
                }
            }
        }
        documents.into_iter().collect()
    }
}

impl Write {
    fn bytes(&self) -> Option<&[u8]> {
        self.body.as_ref().map(|Body(body)| body.as_slice())
    }

    fn lead(&self) -> Lead {
        Lead {
            key: self.key.clone(),
            hash: self.bytes().map(Hash::of),
        }
    }
}

impl Pending {
    fn read((key, document): (String, Document)) -> Self {
        Self {
            change: key[PENDING.len()..].to_owned(),
            revision: document.revision,
            writes: serde_json::from_slice(&document.body).unwrap_or_default(),
        }
    }

    pub(crate) fn changes(pending: &[Self]) -> HashSet<String> {
        pending
            .iter()
            .map(|pending| pending.change.clone())
            .collect()
    }
}

const PENDING: &str = "pending/";
