//! Opening, and reading everything anew after a change that stopped half-way: the same steps.

use std::{
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};

use arc_swap::ArcSwap;
use tokio::sync::{RwLock, Semaphore, mpsc};

use super::{
    Inner, OpenError, OpenOptions, change::WorkspaceLocks, references::References, twins::Twins,
};
use crate::{
    Access, Act, Audit, Kms, Runs,
    access::EnsureOwnerError,
    audit::{Draft, Event, Head, Lead},
    clock::Ratchet,
    file,
    journal::{Journal, Pending},
    keyring::Keyring,
    ledger::Ledger,
    signals::{Notice, Notices},
    snapshot::{self, Finding, Snapshot},
    storage::{Log, Storage, StorageError},
};

/// A registry's inside, and what opening it has left to do.
pub(super) struct Opened {
    pub(super) inner: Inner,
    /// Where refused uses of credentials come out from now on.
    pub(super) notices: mpsc::Receiver<Notice>,
}

impl Inner {
    pub(super) async fn open(options: OpenOptions) -> Result<Opened, OpenError> {
        let OpenOptions {
            storage,
            keyring: path,
            kms,
            catalogue,
            rules,
            clock,
        } = options;
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            file::make_folder(folder).map_err(|error| OpenError::Keyring(error.into()))?;
        }
        let keyring = Arc::new(open_keyring(&path, kms, &*storage).await?);
        let clock = Arc::new(Ratchet::new(clock));
        let anchor = path.with_file_name("audit-head");
        let audit = Arc::new(Audit::new(
            storage.clone(),
            keyring.clone(),
            clock.clone(),
            &anchor,
        ));
        let journal = Journal::new(storage.clone(), audit.clone());
        let (pending, ledger) = read(&journal, &audit).await?;
        if let Some(found) = ledger.scan.replaced {
            return Err(OpenError::Replaced { found, anchor });
        }
        if let Some(position) = ledger.scan.newer {
            return Err(OpenError::Newer { position });
        }
        // The first record of all is the owner token's, so it is older than any workspace's key.
        if ledger.scan.head.position == 0 && keyring.has_workspaces() {
            return Err(OpenError::StoreMissing { keyring: path });
        }
        clock.at_least(ledger.latest);
        let epoch = keyring.epoch().await;
        let (notices, noted) = Notices::new(clock.clone());
        let inner = Self {
            journal,
            access: Access::new(clock.clone(), &path.with_file_name("admin-token")),
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
            locks: WorkspaceLocks::default(),
            gate: RwLock::default(),
            rotations: Mutex::default(),
            notices,
            twins: Twins::default(),
            declared: OnceLock::new(),
            references: References::new(ledger.sources.clone()),
            runs: Runs::start(storage.clone(), ledger.erased.clone()),
            storage,
            epoch,
            keyring,
            catalogue,
            rules,
            clock,
            audit,
        };
        if let Some(error) = inner.apply(pending, &ledger).await? {
            tracing::error!(%error, "what is on record counts, and is written before the next change");
            inner.journal.unsettle();
        }
        unless_full("the restore", inner.note_restore(&ledger).await)?;
        inner.ensure_owner().await?;
        tracing::info!(
            workspaces = inner.snapshot.load().workspaces.len(),
            audit_head = %inner.audit.head().await,
            "opened the credential store"
        );
        Ok(Opened {
            inner,
            notices: noted,
        })
    }

    /// Reads everything anew: a change stopped half-way, and what is in memory may be behind what is stored.
    pub(super) async fn reload(&self) -> Result<(), StorageError> {
        let (pending, ledger) = read(&self.journal, &self.audit).await?;
        if let Some(error) = self.apply(pending, &ledger).await? {
            return Err(error);
        }
        self.journal.settled();
        // An erasing may have been the one that stopped.
        self.runs.erase_all(ledger.erased).await;
        Ok(())
    }

    /// Finishes what is on record and not carried out, believes what the log vouches for, and puts the rest on record. Says why
    /// something is left to be finished, if it is: what is in memory is as if it were not.
    async fn apply(
        &self,
        pending: Vec<Pending>,
        ledger: &Ledger,
    ) -> Result<Option<StorageError>, StorageError> {
        let mut unfinished = self.journal.settle(pending, ledger).await?;
        let destroyed = self.keyring.destroy(&ledger.destroyed).await;
        let not_destroyed = destroyed.err().map(StorageError::from);
        self.keyring.settle(ledger.master_key.as_deref()).await?;
        let before = self.snapshot.load_full();
        let (snapshot, findings) = snapshot::load(
            &*self.storage,
            &unfinished,
            &self.keyring,
            ledger,
            &before,
            &self.notices,
        )
        .await?;
        self.access
            .load(&*self.storage, &unfinished, &self.keyring, ledger)
            .await?;
        self.report(ledger, findings).await?;
        self.snapshot.store(Arc::new(snapshot));
        self.twins.forget();
        // Nobody waits for the first look at those that are there again.
        self.follow_all(&Arc::new(Semaphore::new(0)));
        // Of what those keys opened, nothing is believed any more.
        Ok(unfinished.full.take().or(not_destroyed))
    }

    /// Where there is no room to put the token on record, the next start makes it.
    async fn ensure_owner(&self) -> Result<(), EnsureOwnerError> {
        let ensured = self.access.ensure_owner(&self.journal, &self.keyring).await;
        match ensured {
            Err(EnsureOwnerError::Storage(error)) => {
                unless_full("an owner token", Err::<(), _>(error))?;
                Ok(())
            }
            ensured => ensured,
        }
    }

    /// A restore happens offline, where there is no log to write to; the first start after it does.
    async fn note_restore(&self, ledger: &Ledger) -> Result<(), StorageError> {
        let Some((epoch, backup)) = self.keyring.restored().await else {
            return Ok(());
        };
        let note = format!("{backup}, epoch {epoch}");
        if ledger.restored.as_ref() != Some(&note) {
            let restored = Draft {
                note: Some(note),
                ..Draft::new(Event::BackupRestored, &Act::system("start"))
            };
            self.audit.put_on_record(restored).await?;
        }
        Ok(())
    }

    async fn append_finding(&self, draft: Draft) -> Result<Head, StorageError> {
        self.storage.expect_room(draft.effect).await?;
        self.audit.append(draft).await
    }

    /// Each finding once: it is found again at every start.
    async fn report(&self, ledger: &Ledger, findings: Vec<Finding>) -> Result<(), StorageError> {
        let mut head = None;
        let drafts = findings
            .into_iter()
            .map(Draft::from)
            .chain(broken_log(ledger));
        for draft in drafts {
            let note = draft.note.as_deref().unwrap_or_default();
            let stands_at = draft.documents.first().map(|lead| lead.key.as_str());
            tracing::error!(stands_at, "not believed, and not used: {note}");
            if !draft
                .documents
                .iter()
                .all(|finding| ledger.is_reported(finding))
            {
                let appended = self.append_finding(draft).await;
                head = unless_full("the finding", appended)?.or(head);
            }
        }
        if let Some(head) = head {
            self.audit.to_disk(head).await?;
        }
        Ok(())
    }
}

/// A disk without room is no reason not to start: what is not put on record now is at a later start.
fn unless_full<T>(what: &str, outcome: Result<T, StorageError>) -> Result<Option<T>, StorageError> {
    match outcome {
        Err(error @ StorageError::Full { .. }) => {
            tracing::error!(%error, "{what} is not put on record before a later start");
            Ok(None)
        }
        outcome => outcome.map(Some),
    }
}

/// Reads what was begun and the audit log; writes nothing.
async fn read(journal: &Journal, audit: &Audit) -> Result<(Vec<Pending>, Ledger), StorageError> {
    let pending = journal.pending().await?;
    let ledger = Ledger::read(audit, &Pending::changes(&pending)).await?;
    Ok((pending, ledger))
}

async fn open_keyring(path: &Path, kms: Kms, storage: &dyn Storage) -> Result<Keyring, OpenError> {
    // Asked first: whatever a missing keyring means, it must not be answered with a new one over old data.
    if !path.exists() && !is_empty(storage).await? {
        return Err(OpenError::KeyringMissing {
            path: path.to_owned(),
        });
    }
    Ok(Keyring::open_or_create(path, kms).await?)
}

async fn is_empty(storage: &dyn Storage) -> Result<bool, StorageError> {
    Ok(storage.last(Log::Audit).await? == 0 && storage.list("").await?.is_empty())
}

impl From<Finding> for Draft {
    fn from(finding: Finding) -> Self {
        Self {
            workspace: finding.workspace,
            credential: finding.credential,
            note: Some(format!("{}: {}", finding.lead.key, finding.damage)),
            documents: vec![finding.lead],
            ..Self::new(Event::DocumentDamaged, &Act::system("start"))
        }
    }
}

/// The log itself, where it is not what was written.
fn broken_log(ledger: &Ledger) -> Option<Draft> {
    let found = ledger.scan.first_break()?;
    // Stands for the finding, so that it is known again: no document has such a key.
    let key = format!("audit {}-{}", found.position, ledger.scan.last_break);
    Some(Draft {
        note: Some(found.to_string()),
        documents: vec![Lead { key, hash: None }],
        ..Draft::new(Event::AuditDamaged, &Act::system("start"))
    })
}
