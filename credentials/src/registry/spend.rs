//! Keeps counts of spend across restarts: [`Meter`] counts, this stores. Its module says what a
//! crash costs.
//!
//! One note for each credential and workspace with limits, sealed, so that it cannot be edited or
//! moved. Who can write the store can put back or delete a note, which gives back what was spent
//! since: see docs/SECURITY.md. Where several processes share a store, each counts for itself, and a restart
//! goes on from the count that was stored last.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use keyside_store::StorageError;
use tokio::{
    sync::{Mutex, Notify},
    time::{sleep, timeout},
};

use super::{Registry, after};
use crate::{
    model::Limits,
    notes::Kind,
    spend::{Day, DayTotals, Meter, Stored},
};

/// When counts are stored.
#[derive(Default)]
pub(super) struct SpendWriter {
    /// Wakes the task that stores counts.
    pub(super) due: Arc<Notify>,
    /// One write at a time, so that a reservation does not replace the exact counts of a stop.
    writing: Mutex<()>,
}

/// What is counted under one name.
struct Account {
    name: String,
    limits: Limits,
    meter: Arc<Meter>,
}

impl Registry {
    /// Adds what earlier processes have spent today to the counts of all credentials and workspaces
    /// with limits, once. Call it again after [`Self::overlay_declared`]. If a count cannot be read,
    /// it begins at 0, and is added as soon as it can be read.
    pub async fn restore_spend(&self) {
        for account in self.accounts() {
            if let Err(error) = self.restore(&account).await {
                tracing::warn!(
                    %error, account = account.name,
                    "what was spent today cannot be read: until it can, the limit counts from 0"
                );
            }
        }
    }

    /// Stores the counts that are due; all of them if the process stops.
    pub(super) async fn store_spend(&self, stored: Stored) -> Result<(), StorageError> {
        let _writing = self.spend.writing.lock().await;
        let mut written = Vec::new();
        for account in self.accounts() {
            if account.meter.is_store_due() || stored == Stored::Exact {
                self.restore(&account).await?;
                let totals = account.meter.totals(account.limits, stored);
                if totals != DayTotals::default() {
                    let replace = |stored: &mut Option<DayTotals>| *stored = Some(totals);
                    self.notes.update(&account.name, replace).await?;
                    written.push((account, totals));
                }
            }
        }
        if written.is_empty() {
            return Ok(());
        }
        self.notes.sync().await?;
        for (account, totals) in written {
            account.meter.stored(totals, account.limits, stored);
        }
        Ok(())
    }

    /// Everything with limits, stored or declared.
    fn accounts(&self) -> Vec<Account> {
        let snapshot = self.all().load();
        let mut accounts = Vec::new();
        for workspace in snapshot.workspaces.values() {
            let document = &workspace.document;
            if !document.limits.is_none() {
                let of = format!("workspace/{}", document.incarnation);
                accounts.push(Account {
                    name: Kind::Spend.name(&document.id, of),
                    limits: document.limits,
                    meter: workspace.spend.clone(),
                });
            }
            let credentials = workspace.credentials.values();
            let limited = credentials.filter(|entry| {
                let document = &entry.document;
                !document.limits.is_none() && document.revoked_at.is_none()
            });
            accounts.extend(limited.map(|entry| {
                let of = format!("credential/{}", entry.document.id);
                Account {
                    name: Kind::Spend.name(&entry.document.workspace, of),
                    limits: entry.document.limits,
                    meter: entry.signals.spend.clone(),
                }
            }));
        }
        accounts
    }

    async fn restore(&self, account: &Account) -> Result<(), StorageError> {
        if !account.meter.begin_restore() {
            return Ok(());
        }
        match self.notes.read::<Option<DayTotals>>(&account.name).await {
            Ok(stored) => {
                if let Some(totals) = stored {
                    account.meter.restore(totals, Day::of(self.clock.now()));
                }
                Ok(())
            }
            Err(error) => {
                account.meter.restore_failed();
                Err(error)
            }
        }
    }
}

/// Stores counts as they become due, for as long as the registry is open.
pub(super) async fn keep_spend(registry: Weak<Registry>, due: Arc<Notify>) {
    let mut is_failing = false;
    while let Some(registry) = after(timeout(CHECK_INTERVAL, due.notified()), &registry).await {
        let stored = registry.store_spend(Stored::Ahead).await;
        drop(registry);
        match (&stored, is_failing) {
            (Err(error), false) => tracing::error!(
                %error,
                "what was spent today cannot be stored: limits hold until a restart, which may forget it"
            ),
            (Ok(()), true) => tracing::info!("what was spent today is stored again"),
            _ => {}
        }
        is_failing = stored.is_err();
        // One write for all requests in this time.
        sleep(WRITE_INTERVAL).await;
    }
}

/// How soon the task notices that the registry was dropped, and tries again after a failure without
/// traffic.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// The shortest time between two writes.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);
