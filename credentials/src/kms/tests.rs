//! A remote key service for tests, which can make its calls wait or fail.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use keyside_store::faulty::Gate;
use parking_lot::Mutex;
use tokio::sync::Barrier;
use zeroize::Zeroizing;

use super::{KeyService, Kms, KmsError, Wrapping};

/// The `local` driver as a remote service.
pub(crate) struct RemoteService {
    pub(crate) inner: Arc<dyn KeyService>,
    /// No call is answered while it is closed.
    pub(crate) gate: Gate,
    /// Unwraps workspace keys only when this many calls wait at the same time.
    pub(crate) together: Option<Barrier>,
    pub(crate) running: AtomicUsize,
    pub(crate) most: AtomicUsize,
    /// The error for each workspace whose calls fail.
    pub(crate) fails: Mutex<HashMap<String, fn() -> KmsError>>,
    pub(crate) forgotten: Mutex<Vec<String>>,
    pub(crate) can_make_new: bool,
}

impl RemoteService {
    /// A service with the master key of `local`.
    pub(crate) fn of(local: &Kms) -> Self {
        Self {
            inner: local.service(),
            gate: Gate::default(),
            together: None,
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            fails: Mutex::default(),
            forgotten: Mutex::default(),
            can_make_new: true,
        }
    }

    pub(crate) fn fail_for(&self, workspace: &str, error: fn() -> KmsError) {
        self.fails.lock().insert(workspace.to_owned(), error);
    }

    async fn check(&self, workspace: &str) -> Result<(), KmsError> {
        self.gate.pass().await;
        match self.fails.lock().get(workspace) {
            Some(error) => Err(error()),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl KeyService for RemoteService {
    fn name(&self, workspace: &str) -> String {
        self.inner.name(workspace)
    }

    fn wrapped_by(&self, wrapped: &[u8]) -> Option<String> {
        self.inner.wrapped_by(wrapped)
    }

    fn can_make_new(&self) -> bool {
        self.can_make_new
    }

    async fn wrap(&self, wrapping: &Wrapping<'_>, key: &[u8; 32]) -> Result<Vec<u8>, KmsError> {
        self.check(wrapping.workspace).await?;
        self.inner.wrap(wrapping, key).await
    }

    async fn unwrap(
        &self,
        wrapping: &Wrapping<'_>,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, KmsError> {
        self.check(wrapping.workspace).await?;
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        if let Some(together) = self
            .together
            .as_ref()
            .filter(|_| !wrapping.workspace.is_empty())
        {
            together.wait().await;
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.inner.unwrap(wrapping, wrapped).await
    }

    async fn forget(&self, workspace: &str) -> Result<(), KmsError> {
        self.check(workspace).await?;
        self.forgotten.lock().push(workspace.to_owned());
        Ok(())
    }
}
