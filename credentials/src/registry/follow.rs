//! Follows the writes of other processes, for a second authority and for a read-only process, by
//! polling the heads.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::sleep;

use super::{ChangeError, OpenError, OpenOptions, Registry, after, open::Role};

impl Registry {
    /// Opens the store read-only: the signing key stays wrapped, nothing is written or swept, and
    /// every change is refused. Call [`Self::follow`] to keep it up to date.
    ///
    /// # Errors
    /// Each error names a remedy.
    pub async fn open_to_read(options: OpenOptions) -> Result<Arc<Self>, OpenError> {
        let (registry, _) = Self::open_as(Role::Reader, options).await?;
        Ok(registry)
    }

    /// Polls every head at this interval, for as long as the registry is open. After a failed poll
    /// the last known state is served, and the next one retries.
    pub fn follow(self: &Arc<Self>, poll: Duration) {
        tokio::spawn(keep_following(Arc::downgrade(self), poll));
    }

    /// Loads the changes of other processes once. A workspace that cannot be read does not keep the
    /// others from being read: what was revoked in them must not stay in use.
    ///
    /// # Errors
    /// The backend failed.
    pub async fn catch_up(&self) -> Result<(), ChangeError> {
        self.refresh_installation_state().await?;
        let registrations = self.chains.registrations();
        let mut read_all = Ok(());
        for (id, registration) in registrations.iter() {
            if registration.exists
                && let Err(error) = self.read_workspace(id).await
            {
                read_all = Err(error.into());
            }
        }
        read_all
    }
}

async fn keep_following(registry: Weak<Registry>, poll: Duration) {
    while let Some(registry) = after(sleep(poll), &registry).await {
        if let Err(error) = registry.catch_up().await {
            tracing::warn!(%error, "changes of other processes could not be read");
        }
    }
}
