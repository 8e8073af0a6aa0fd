//! The admin API: how people and CI add, list and withdraw keys.
//!
//! Owns the wire (JSON, problem documents, entity tags) and who may speak to it. Every rule about workspaces and
//! credentials is the registry's; nothing here can read a secret, and what is pasted here goes straight into one.

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
mod request_id;
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
use keyside_credentials::{LiveCheck, Registry};

pub use self::openapi::openapi;
use self::{rate_limits::RateLimits, state::AdminState};

/// What the API works on.
pub struct AdminOptions {
    /// Workspaces, credentials, runs, the audit log, and who has access.
    pub registry: Arc<Registry>,
    /// The known providers.
    pub catalogue: Arc<Catalogue>,
    /// Asks them about keys.
    pub live_check: Arc<dyn LiveCheck>,
    /// The address that the API is bound to.
    pub listen: SocketAddr,
    /// What people type to reach it, without a slash at the end. Its host is one that requests may name.
    pub public_url: String,
    /// What one token may send, and one address without any.
    pub requests_per_second: NonZeroU32,
}

/// The whole API.
///
/// Each request passes, in this order: a task, an id and a log line of its own; the checks that no browser was talked into
/// sending it; authentication; the caller's budget; and, route by route, whether they may (`routes.rs` says what each asks
/// for). Only then is its body read.
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
