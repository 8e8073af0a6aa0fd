//! Checks whether a provider can be reached the way requests reach it, for `keyside doctor`.

use std::time::Duration;

use keyside_config::{BaseUrl, Provider, Proxy};

use crate::{
    egress::Egress,
    upstream::{self, Reachable, Unreachable},
};

/// Connects to `base`, a host of `provider`, and closes the connection again. All of it takes at
/// most `limit`, and no connection quota is used. A rustls crypto provider must be installed in the
/// process.
///
/// # Errors
/// The step that failed.
pub async fn check_reachable(
    egress: &Egress,
    proxy: &Proxy,
    provider: &Provider,
    base: &BaseUrl,
    limit: Duration,
) -> Result<Reachable, Unreachable> {
    let dialer = egress.dialer(limit, &proxy.limits);
    let route = egress.route(provider, base);
    upstream::check_reachable(&dialer, &route, base, limit).await
}
