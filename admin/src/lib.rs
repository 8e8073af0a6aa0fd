//! The admin API: how people and CI add, list and withdraw keys.
//!
//! Owns the wire (JSON, problem documents, entity tags) and who may speak to it. Every rule about workspaces and
//! credentials is the registry's; nothing here can read a secret, and what is pasted here goes straight into one.

#![deny(missing_docs)]

mod access;
mod body;
mod entity_tag;
mod exchange;
mod form;
mod guard;
mod page;
mod precondition;
mod problem;
mod query;
mod refusals;
mod routes;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, middleware};
use keyside_config::Catalogue;
use keyside_credentials::Registry;

/// What the API works on.
#[derive(Clone)]
pub struct AdminState {
    /// Workspaces, credentials, runs, the audit log, and who has access.
    pub registry: Arc<Registry>,
    /// The known providers.
    pub catalogue: Arc<Catalogue>,
    /// The address that the API is bound to.
    pub listen: SocketAddr,
    /// What people type to reach it, without a slash at the end. Its host is one that requests may name.
    pub public_url: String,
}

/// The whole API.
///
/// Each request passes, in this order: a task, an id and a log line of its own; the checks that no browser was talked
/// into sending it; the token. Only then is it looked at.
pub fn router(state: AdminState) -> Router {
    let guard = Arc::new(guard::Guard::new(state.listen, &state.public_url));
    let refusals = Arc::new(refusals::Refusals::new(state.registry.clone()));
    routes::router()
        .layer(middleware::from_fn_with_state(
            state.clone(),
            access::require_token,
        ))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .layer(middleware::from_fn_with_state(refusals, exchange::carry))
        .with_state(state)
}
