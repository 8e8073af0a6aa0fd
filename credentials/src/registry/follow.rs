//! Following what other processes write: a second authority, or a process that only resolves. Its snapshot is a source like any
//! other, which the heads keep up to date.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    ChangeError, Inner, OpenError, OpenOptions, Registry,
    open::{Opened, Role},
};

impl Registry {
    /// Opens what is stored for a process that only resolves: what signs heads stays wrapped, nothing is written, swept or
    /// made, and every change is refused. Call [`Self::follow`] to keep it up to date.
    ///
    /// # Errors
    /// Each names its remedy.
    pub async fn open_to_read(options: OpenOptions) -> Result<Arc<Self>, OpenError> {
        let Opened { inner, .. } = Inner::open(options, Role::Reader).await?;
        Ok(Arc::new(Self { inner }))
    }

    /// Looks at every head once each `poll`, for as long as the registry is open. Where a look fails, what was read before is
    /// served on, and the next one tries again.
    pub fn follow(&self, poll: Duration) {
        tokio::spawn(keep_following(Arc::downgrade(&self.inner), poll));
    }

    /// Takes over what other processes have written until now.
    ///
    /// # Errors
    /// The backend's.
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
            tracing::warn!(%error, "what other processes have changed could not be read");
        }
    }
}
