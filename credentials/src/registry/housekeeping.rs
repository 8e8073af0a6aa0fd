//! Background tasks: sweep ended versions, write anchors again that could not be written, record refused uses, write links, store notes and counts
//! of spend, announce credentials that expire soon.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    ChangeError, Registry, after,
    change::{about, detail, retry_on_race},
    links::Links,
    spend,
};
use crate::{
    chains::Priority,
    model::ActorContext,
    record::{Draft, Event},
    snapshot::signals::{Attempt, Notice},
};

/// Starts the tasks on the current runtime. They end when the registry is dropped.
pub(super) fn start(registry: &Arc<Registry>, notices: mpsc::Receiver<Notice>) {
    tokio::spawn(run_housekeeping(Arc::downgrade(registry), notices));
    let (links, spend_due) = (registry.links.clone(), registry.spend.due.clone());
    tokio::spawn(run_linking(Arc::downgrade(registry), links));
    tokio::spawn(keep_notes(Arc::downgrade(registry)));
    tokio::spawn(spend::keep_spend(Arc::downgrade(registry), spend_due));
    let due = registry.announced_expiries.due.clone();
    tokio::spawn(announce_expiring(Arc::downgrade(registry), due));
}

async fn run_linking(registry: Weak<Registry>, links: Arc<Links>) {
    if let Some(registry) = registry.upgrade()
        && let Err(error) = registry.chains.sweep().await
    {
        tracing::warn!(%error, "what a crash left unreferenced could not be deleted: a later start retries");
    }
    while let Some(registry) = after(timeout(SWEEP_INTERVAL, links.wait()), &registry).await {
        registry.link_due().await;
    }
}

/// Stores times of tokens' last use, and rejections in traffic.
async fn keep_notes(registry: Weak<Registry>) {
    while let Some(registry) = after(sleep(STORE_INTERVAL), &registry).await {
        registry.store_last_used().await;
        registry.store_checks().await;
        registry.store_rejections().await;
    }
}

/// Looks for credentials that expire soon: once a minute, and as soon as somebody subscribes or an
/// end changes.
async fn announce_expiring(registry: Weak<Registry>, due: Arc<Notify>) {
    while let Some(registry) = after(timeout(SWEEP_INTERVAL, due.notified()), &registry).await {
        registry.announce_expiring().await;
    }
}

async fn run_housekeeping(registry: Weak<Registry>, mut notices: mpsc::Receiver<Notice>) {
    let mut minutes = interval(SWEEP_INTERVAL);
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let notice = tokio::select! {
            notice = notices.recv() => match notice {
                Some(notice) => Some(notice),
                None => return,
            },
            _ = minutes.tick() => None,
        };
        let Some(registry) = registry.upgrade() else {
            return;
        };
        match notice {
            None => {
                registry.sweep().await;
                registry.chains.write_anchors_behind().await;
            }
            Some(notice) => {
                if let Err(error) = retry_on_race!(registry.record_refused_use(&notice)) {
                    tracing::warn!(%error, "a refused use could not be recorded");
                    notice.entry.signals.forget(notice.attempt);
                }
            }
        }
    }
}

impl Registry {
    /// Runs under the workspace's lock: a use that was refused before an erasure must not be
    /// recorded for the successor.
    pub(super) async fn record_refused_use(&self, notice: &Notice) -> Result<(), ChangeError> {
        let document = &notice.entry.document;
        let _guard = self
            .lock_workspace(
                &ActorContext::system("use"),
                &document.workspace,
                Priority::Normal,
            )
            .await?;
        let snapshot = self.snapshot.load_full();
        let Some((workspace, _)) = snapshot.credential(&document.id) else {
            return Ok(());
        };
        let key = self.sealing_key_for(workspace, document);
        let metadata = notice.entry.metadata();
        let proxy = ActorContext::system("proxy");
        let draft = Draft {
            detail: key
                .zip(metadata)
                .and_then(|(key, metadata)| detail(&key, &metadata.fingerprint)),
            ..about(notice.attempt.event(), &proxy, document)
        };
        self.commit_record(workspace, draft).await.map(drop)
    }
}

impl Attempt {
    fn event(self) -> Event {
        match self {
            Self::Expired => Event::ExpiredUseAttempted,
            Self::Revoked => Event::RevokedUseAttempted,
            Self::Undecryptable => Event::CredentialUndecryptable,
        }
    }
}

/// How often housekeeping runs, and how soon its tasks notice that the registry was dropped.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// What a crash may lose of notes.
const STORE_INTERVAL: Duration = Duration::from_secs(60);
