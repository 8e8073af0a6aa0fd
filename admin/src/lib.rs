//! The admin API and the admin page, with which people and CI add, list, rotate and revoke keys.
//!
//! Owns the HTTP interface (JSON, problem documents, entity tags, HTML), authentication and
//! authorization. All rules about workspaces and credentials are in the registry. Nothing here can
//! read a secret: a secret in a request goes straight into `Secret`.

#![deny(missing_docs)]

mod access;
mod access_audit;
mod assets;
mod body;
mod client_address;
mod compression;
mod concurrency;
mod credential_changes;
mod entity_tag;
mod form;
mod openapi;
mod origin_policy;
mod pages;
mod paging;
mod precondition;
mod previews;
mod problem;
mod query;
mod random;
mod rate_limits;
mod request_log;
mod routes;
mod schemas;
mod sessions;
mod sign_in_links;
mod site;
mod smoke;
mod state;
#[cfg(test)]
mod tests;
pub mod wire;

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc};

use axum::{Router, extract::Request, middleware};
use keyside_config::{Catalogue, Listener, Network};
use keyside_credentials::{LiveCheck, Registry, preview::Preview, smoke::Smoke};

use self::{
    access_audit::AccessAudit, rate_limits::RateLimits, sessions::Sessions, site::Site,
    state::AdminState,
};
pub use self::{openapi::openapi, sign_in_links::SignInLinks};

/// What API and page need to run.
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
    /// Smoke runs of tagged keys.
    pub smoke: Arc<Smoke>,
    /// The listeners of the proxy, at which clients are pointed.
    pub proxy_listeners: Vec<Listener>,
    /// The address that the listener is bound to.
    pub listen: SocketAddr,
    /// The URL that people use, without a slash at the end. Requests may name its host, and its path
    /// begins the links and cookie paths of the page.
    pub public_url: String,
    /// Reverse proxies whose `X-Forwarded-For` names the client.
    pub trusted_proxies: Vec<Network>,
    /// The one-time links to the page, which the process prints too.
    pub sign_in_links: Arc<SignInLinks>,
    /// The rate limit per token, and per address for requests without a valid token.
    pub requests_per_second: NonZeroU32,
}

/// The router of API and page.
///
/// Each request passes these layers in order: the compression of its response; the client's address;
/// request id, task and log line; the page that a browser gets for an error; the check of Host and
/// Origin; authentication, by a bearer token for the API and by a session for the page; the rate limit;
/// and the permission of its route (`routes.rs`, `pages.rs`). Only then is its body read.
pub fn router(options: AdminOptions) -> Router {
    router_with(options, Arc::default())
}

/// The same with these sessions, which a test can reach.
fn router_with(options: AdminOptions, sessions: Arc<Sessions>) -> Router {
    let site = Arc::new(Site::new(&options.public_url));
    let linkable = pages::stable_paths().chain([routes::guide::PATH.to_owned()]);
    let guard = Arc::new(origin_policy::OriginPolicy::new(
        options.listen,
        site.clone(),
        linkable,
    ));
    let audit = Arc::new(AccessAudit::new(options.registry.clone()));
    let proxies = client_address::TrustedProxies::new(options.trusted_proxies);
    let identify = middleware::from_fn_with_state(Arc::new(proxies), client_address::identify);
    let state = AdminState {
        registry: options.registry,
        catalogue: options.catalogue,
        live_check: options.live_check,
        prompt_check: options.prompt_check,
        preview: options.preview,
        public_url: options.public_url.into(),
        proxy_listeners: options.proxy_listeners.into(),
        smoke: options.smoke,
        limits: Arc::new(RateLimits::new(options.requests_per_second)),
        concurrency: Arc::default(),
        site: site.clone(),
        sessions,
        access_audit: audit.clone(),
        sign_in_links: options.sign_in_links,
        description: openapi,
    };
    let authenticate = middleware::from_fn_with_state(state.registry.clone(), access::authenticate);
    let errors = middleware::from_fn_with_state(state.clone(), pages::for_browsers);
    let limit = middleware::from_fn_with_state(state.limits.clone(), rate_limits::check);
    let router = routes::router()
        .layer(limit)
        .layer(authenticate)
        .merge(pages::router(&state))
        .layer(middleware::from_fn_with_state(guard, origin_policy::check))
        .layer(errors)
        .layer(middleware::from_fn_with_state(audit, request_log::track))
        .layer(identify)
        .layer(middleware::from_fn(compression::compress))
        .with_state(state);
    match site.base().is_empty() {
        true => router,
        // A layer of `router` itself would run after the routes were matched.
        false => Router::new()
            .fallback_service(router)
            .layer(middleware::map_request(move |request: Request| {
                let request = site.strip_base(request);
                async move { request }
            })),
    }
}
