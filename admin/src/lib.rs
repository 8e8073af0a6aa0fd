//! The admin API, with which people and CI add, list, rotate and revoke keys.
//!
//! Owns the HTTP interface (JSON, problem documents, entity tags), authentication and
//! authorization. All rules about workspaces and credentials are in the registry. Nothing here can
//! read a secret: a secret in a request goes straight into `Secret`.

#![deny(missing_docs)]

mod access;
mod body;
mod concurrency;
mod entity_tag;
mod form;
mod openapi;
mod origin_policy;
mod page;
mod precondition;
mod problem;
mod query;
mod rate_limits;
mod refusal_audit;
mod request_log;
mod routes;
mod schemas;
mod state;
#[cfg(test)]
mod tests;
pub mod wire;

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc};

use axum::{Router, middleware};
use keyside_config::Catalogue;
use keyside_credentials::{LiveCheck, Registry, preview::Preview};

pub use self::openapi::openapi;
use self::{rate_limits::RateLimits, state::AdminState};

/// What the API needs to run.
pub struct AdminOptions {
    /// Workspaces, credentials, runs, the audit log and access tokens.
    pub registry: Arc<Registry>,
    /// The catalogue of providers.
    pub catalogue: Arc<Catalogue>,
    /// Sends live checks to providers.
    pub live_check: Arc<dyn LiveCheck>,
    /// The same with a minimal prompt, which costs a few tokens.
    pub prompt_check: Arc<dyn LiveCheck>,
    /// Sends prompts to providers, as requests of runners are sent.
    pub preview: Arc<dyn Preview>,
    /// The address that the listener is bound to.
    pub listen: SocketAddr,
    /// The URL that people use, without a slash at the end. Requests may name its host.
    pub public_url: String,
    /// The rate limit per token, and per address for requests without a valid token.
    pub requests_per_second: NonZeroU32,
}

/// The router of the API.
///
/// Each request passes these layers in order: request id, task and log line; the check of Host and
/// Origin; authentication; the rate limit; and the permission of its route (`routes.rs`). Only then
/// is its body read.
pub fn router(options: AdminOptions) -> Router {
    let guard = Arc::new(origin_policy::OriginPolicy::new(
        options.listen,
        &options.public_url,
    ));
    let refusals = Arc::new(refusal_audit::RefusalAudit::new(options.registry.clone()));
    let state = AdminState {
        registry: options.registry,
        catalogue: options.catalogue,
        live_check: options.live_check,
        prompt_check: options.prompt_check,
        preview: options.preview,
        public_url: options.public_url.into(),
        limits: Arc::new(RateLimits::new(options.requests_per_second)),
        concurrency: Arc::default(),
        description: openapi,
    };
    let authenticate = middleware::from_fn_with_state(state.registry.clone(), access::authenticate);
    let limit = middleware::from_fn_with_state(state.limits.clone(), rate_limits::check);
    routes::router()
        .layer(limit)
        .layer(authenticate)
        .layer(middleware::from_fn_with_state(guard, origin_policy::check))
        .layer(middleware::from_fn_with_state(refusals, request_log::track))
        .with_state(state)
}
