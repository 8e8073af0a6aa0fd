//! The state that all handlers share.

use std::sync::Arc;

use keyside_config::{Catalogue, Listener, Provider};
use keyside_credentials::{ChangeError, LiveCheck, Registry, preview::Preview, smoke::Smoke};

use crate::{
    access::Caller,
    access_audit::AccessAudit,
    concurrency::{ConcurrencyLimits, ConcurrencyPermit, WorkKind},
    problem::Problem,
    rate_limits::RateLimits,
    sessions::Sessions,
    sign_in_links::SignInLinks,
    site::Site,
};

/// Cloned for each request; every field is shared.
#[derive(Clone)]
pub(crate) struct AdminState {
    pub(crate) registry: Arc<Registry>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) live_check: Arc<dyn LiveCheck>,
    pub(crate) prompt_check: Arc<dyn LiveCheck>,
    pub(crate) preview: Arc<dyn Preview>,
    /// The setting `admin.public_url`, which links to the admin UI begin with.
    pub(crate) public_url: Arc<str>,
    /// The listeners of the proxy, which clients are pointed at.
    pub(crate) proxy_listeners: Arc<[Listener]>,
    pub(crate) smoke: Arc<Smoke>,
    pub(crate) limits: Arc<RateLimits>,
    pub(crate) concurrency: Arc<ConcurrencyLimits>,
    pub(crate) site: Arc<Site>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) access_audit: Arc<AccessAudit>,
    pub(crate) sign_in_links: Arc<SignInLinks>,
    /// Returns the OpenAPI description as JSON; built on first use.
    pub(crate) description: fn() -> &'static str,
}

impl AdminState {
    /// The check to send: with a prompt, or the cheapest request.
    pub(crate) fn check(&self, prompt: bool) -> Arc<dyn LiveCheck> {
        match prompt {
            true => self.prompt_check.clone(),
            false => self.live_check.clone(),
        }
    }

    /// A provider of the catalogue.
    pub(crate) fn provider(&self, id: &str) -> Option<&Provider> {
        self.catalogue.get(id).map(|provider| &**provider)
    }

    /// The provider that a field `provider` names.
    pub(crate) fn known_provider(&self, id: &str) -> Result<&Arc<Provider>, Problem> {
        let provider = self.catalogue.get(id);
        provider.ok_or_else(|| ChangeError::ProviderUnknown.into())
    }

    /// A permit, if the caller still has access after waiting for it.
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
