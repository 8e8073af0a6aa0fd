//! Follows the secrets of declared credentials at their sources. Requests never wait for it.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::spawn_blocking, time::sleep};

use super::{Declared, Item, expect_usual_kind, state::Change, state::State};
use crate::{
    documents::{CredentialDocument, SecretMetadata},
    encoding::hex,
    secret::Secret,
    snapshot::{CredentialEntry, Snapshot, WorkspaceEntry},
    source::{self, CONCURRENT_READS, GRACE, Lookup, SourceError, SourceReference},
};

impl Declared {
    /// Follows all secrets for as long as the runtime lives, each in its own task. Returns once
    /// each was polled once; a caller that does not wait for that changes nothing.
    pub async fn follow(self: &Arc<Self>) {
        let first = Arc::new(Semaphore::new(0));
        tokio::spawn(self.clone().start_following(first.clone()));
        let all = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        let _ = first.acquire_many(all).await;
    }

    /// `first` gets a permit after the first poll of each secret.
    async fn start_following(self: Arc<Self>, first: Arc<Semaphore>) {
        self.open_cache().await;
        if self.cache.is_some() {
            tokio::spawn(self.clone().keep_cache());
        }
        // Separate limits, so that files do not wait for an unresponsive Vault, nor Vault for
        // files.
        let [of_files, of_vault] = [(); 2].map(|()| Arc::new(Semaphore::new(CONCURRENT_READS)));
        for (index, item) in self.items.iter().enumerate() {
            let (declared, first) = (self.clone(), first.clone());
            let source = item.source.clone();
            let at_once = match &source {
                SourceReference::File(_) => of_files.clone(),
                SourceReference::Vault(_) => of_vault.clone(),
            };
            tokio::spawn(async move {
                let mut is_first = true;
                loop {
                    // The semaphore is never closed.
                    if let Ok(_turn) = at_once.acquire().await {
                        declared.poll_once(index, &source).await;
                    }
                    if std::mem::take(&mut is_first) {
                        first.add_permits(1);
                    }
                    sleep(declared.pause(&source)).await;
                }
            });
        }
    }

    /// Time until the next poll of a secret.
    fn pause(&self, source: &SourceReference) -> Duration {
        match source {
            SourceReference::File(_) => FILE_POLL,
            SourceReference::Vault(_) => source::next_poll_delay(self.poll),
        }
    }

    async fn poll_once(&self, index: usize, source: &SourceReference) {
        let item = &self.items[index];
        let found = match source {
            SourceReference::File(path) => self.read_file(item, path.clone()).await,
            SourceReference::Vault(reference) => {
                let known = item.state.lock().version_read().map(str::to_owned);
                source::read_vault(self.vault.as_deref(), reference, known.as_deref()).await
            }
        };
        let provider = self.catalogue.get(&item.document.provider);
        let found = found.and_then(|found| expect_usual_kind(found, source, provider));
        self.note_in_cache(item, &found);
        match found {
            Ok(Lookup::Unchanged) => {
                let change = item.state.lock().unchanged();
                self.carry_out(item, change);
            }
            Ok(Lookup::Changed { version, secret }) if self.was_cached(item, &secret) => {
                let change = item.state.lock().cached_is_right(version);
                self.carry_out(item, change);
            }
            Ok(Lookup::Changed { version, secret }) => self.replace(item, version, &secret),
            Err(error) => {
                let change = item
                    .state
                    .lock()
                    .not_read(error, Instant::now(), self.outage);
                self.carry_out(item, change);
            }
        }
    }

    /// A file that is being written is briefly empty or incomplete: a change counts once it was read
    /// twice. Only the first read at a start does not wait.
    async fn read_file(&self, item: &Item, path: PathBuf) -> Result<Lookup, SourceError> {
        let (is_first, known) = {
            let state = item.state.lock();
            (state.is_unknown(), state.version().map(str::to_owned))
        };
        let mut found = self.version_in(item, path.clone()).await;
        for _ in 0..SETTLE_CHECKS {
            let version = found.as_ref().map(|(version, _)| version);
            if is_first || version.ok() == known.as_ref() {
                break;
            }
            sleep(SETTLE_DELAY).await;
            let again = self.version_in(item, path.clone()).await;
            let is_settled = match (&found, &again) {
                (Ok((before, _)), Ok((now, _))) => before == now,
                (Err(before), Err(now)) => before == now,
                _ => false,
            };
            found = again;
            if is_settled {
                break;
            }
        }
        let (version, secret) = found?;
        match known == Some(version.clone()) {
            true => Ok(Lookup::Unchanged),
            false => Ok(Lookup::Changed { version, secret }),
        }
    }

    /// Files have no version, so a MAC under the process's key serves as one.
    async fn version_in(
        &self,
        item: &Item,
        path: PathBuf,
    ) -> Result<(String, Secret), SourceError> {
        let read = spawn_blocking(move || source::read_file(&path)).await;
        let stopping = || SourceError::Unavailable("the process is stopping".into());
        let secret = read.unwrap_or_else(|_| Err(stopping()))?;
        let mac = self.mac_of(item, &secret);
        Ok((hex(&mac[..8]), secret))
    }

    /// Compares secrets within this process.
    pub(super) fn mac_of(&self, item: &Item, secret: &Secret) -> [u8; 32] {
        let context = item.document.secret_context(0);
        self.key.0.mac_secret(&context, secret)
    }

    fn replace(&self, item: &Item, version: String, secret: &Secret) {
        let mut state = item.state.lock();
        state.replaced(version);
        self.put_in_use(item, &state, secret);
        tracing::info!(
            workspace = %item.document.workspace,
            provider = &*item.document.provider,
            label = %item.document.label,
            source = %item.source,
            "a declared credential's secret was read"
        );
    }

    pub(super) fn put_in_use(&self, item: &Item, state: &State, secret: &Secret) {
        let (now, warning) = (self.clock.now(), secret.wrapping());
        if let Some(warning) = warning {
            tracing::warn!(
                workspace = %item.document.workspace,
                provider = &*item.document.provider,
                label = %item.document.label,
                source = %item.source,
                "a declared credential's secret is probably not only a key: {warning}"
            );
        }
        *item.warning.lock() = warning;
        let mut document = self.document_in_use(item);
        let metadata = SecretMetadata::of(secret, &item.prefixes, None);
        let sealed = document.seal(&self.key.0, secret, &metadata, now);
        let number = sealed.number;
        if !document.versions.is_empty() {
            document.last_rotated_at = Some(now);
        }
        document.push(sealed);
        document.promote(number, now + GRACE, now);
        document.revision += 1;
        // The provider may still echo the previous secret; older ones are dropped.
        document.versions.retain(|kept| kept.number + 1 >= number);
        let mut entry = CredentialEntry::new(document, &self.key, item.signals.clone());
        entry.declared = Some(Arc::new(item.followed(state)));
        self.publish(entry);
    }

    pub(super) fn carry_out(&self, item: &Item, change: Change) {
        let state = item.state.lock();
        let entry = match change {
            Change::Nothing => return,
            Change::StatusOnly => None,
            Change::Withdraw(why) => {
                let (document, signals) = (self.document_in_use(item), item.signals.clone());
                Some(CredentialEntry::without_secret(document, why, signals))
            }
        };
        if let Some(fault) = state.fault() {
            let cached = state.cached();
            tracing::warn!(
                workspace = %item.document.workspace,
                provider = &*item.document.provider,
                label = %item.document.label,
                usable = state.is_usable(),
                from_cache_since = cached.map(|cached| display(cached.times.confirmed)),
                from_cache_until = cached.map(|cached| display(cached.times.until)),
                fault,
                "a declared credential's secret cannot be read"
            );
        }
        let entry = entry.or_else(|| self.entry_in_use(item).map(|entry| entry.without_status()));
        if let Some(mut entry) = entry {
            entry.declared = Some(Arc::new(item.followed(&state)));
            self.publish(entry);
        }
    }

    fn entry_in_use(&self, item: &Item) -> Option<Arc<CredentialEntry>> {
        let snapshot = self.snapshot.load();
        let workspace = snapshot.workspaces.get(&item.document.workspace)?;
        workspace.credentials.get(&item.document.id).cloned()
    }

    fn document_in_use(&self, item: &Item) -> CredentialDocument {
        let entry = self.entry_in_use(item);
        entry.map_or_else(|| item.document.clone(), |entry| entry.document.clone())
    }

    fn publish(&self, entry: CredentialEntry) {
        let entry = Arc::new(entry);
        self.snapshot.rcu(|snapshot| {
            match snapshot.workspaces.get(&entry.document.workspace) {
                Some(workspace) => {
                    let document = workspace.document.clone();
                    let workspace = WorkspaceEntry::with_all(workspace, document, [entry.clone()]);
                    snapshot.with(Arc::new(workspace))
                }
                // All workspaces are in the snapshot from the start.
                None => Snapshot::clone(snapshot),
            }
        });
        self.changed.notify_one();
    }
}

/// Reading a file takes microseconds, so a short interval is cheap.
const FILE_POLL: Duration = Duration::from_millis(400);
/// How long, and how often, to wait for a file that is being written.
const SETTLE_DELAY: Duration = Duration::from_millis(100);
const SETTLE_CHECKS: usize = 20;
