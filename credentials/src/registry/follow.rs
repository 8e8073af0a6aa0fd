//! Follows the writes of other processes, for a second authority and for a read-only process, by
//! polling the heads.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    ChangeError, Inner, OpenError, OpenOptions, Registry,
    open::{Opened, Role},
};

impl Registry {
    /// Opens the store read-only: the signing key stays wrapped, nothing is written or swept, and
    /// every change is refused. Call [`Self::follow`] to keep it up to date.
    ///
    /// # Errors
    /// Each error names a remedy.
    pub async fn open_to_read(options: OpenOptions) -> Result<Arc<Self>, OpenError> {
        let Opened { inner, .. } = Inner::open(options, Role::Reader).await?;
        Ok(Arc::new(Self { inner }))
    }

    /// Polls every head at this interval, for as long as the registry is open. After a failed poll
    /// the last known state is served, and the next one retries.
    pub fn follow(&self, poll: Duration) {
        tokio::spawn(keep_following(Arc::downgrade(&self.inner), poll));
    }

    /// Loads the changes of other processes once.
    ///
    /// # Errors
    /// The backend failed.
    pub async fn catch_up(&self) -> Result<(), ChangeError> {
        self.inner.refresh_all().await
    }
}

async fn keep_following(inner: Weak<Inner>, poll: Duration) {
    loop {
        tokio::time::sleep(poll).await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        if let Err(error) = inner.refresh_all().await {
            tracing::warn!(%error, "changes of other processes could not be read");
        }
    }
}
