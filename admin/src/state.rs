//! What the handlers share.

use std::sync::Arc;

use keyside_config::Catalogue;
use keyside_credentials::{LiveCheck, Registry};

use crate::{
    access::Caller,
    concurrency::{ConcurrencyLimits, ConcurrencyPermit, WorkKind},
    problem::Problem,
    rate_limits::RateLimits,
};

/// Cloned for each request; all of it is shared.
#[derive(Clone)]
pub(crate) struct AdminState {
    pub(crate) registry: Arc<Registry>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) live_check: Arc<dyn LiveCheck>,
    pub(crate) limits: Arc<RateLimits>,
    pub(crate) concurrency: Arc<ConcurrencyLimits>,
    /// What the API says of itself, as JSON; made when it is first asked for.
    pub(crate) description: fn() -> &'static str,
}

impl AdminState {
    /// The caller's turn, if they still have access once it has come.
    pub(crate) async fn acquire(
        &self,
        work: WorkKind,
        caller: &Caller,
    ) -> Result<ConcurrencyPermit, Problem> {
        let permit = self.concurrency.acquire(work, caller).await?;
        caller.still_has_access(&self.registry)?;
        Ok(permit)
    }
}
