//! A client for Keyside's own requests, such as webhooks: over the default route of `[egress]`, with
//! the same checks of addresses and certificates as requests to providers.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, response::Parts as Head};
use keyside_config::{BaseUrl, Proxy};

use crate::{
    egress::Egress,
    upstream::{self, Dialer, OutboundError},
};

/// Sends single requests. Its connections live on the runtime that calls it.
pub struct OutboundClient {
    egress: Arc<Egress>,
    dialer: Dialer,
}

impl OutboundClient {
    /// `proxy` has the deadline for connecting and the limits on heads of responses. A rustls crypto
    /// provider must be installed in the process.
    pub fn new(egress: Arc<Egress>, proxy: &Proxy) -> Self {
        let dialer = egress.dialer(proxy.deadlines.connect, &proxy.limits);
        Self { egress, dialer }
    }

    /// Checks a host without using the network: an address in a private network needs
    /// `allow_private`, whether the route is direct or leads through an egress proxy.
    ///
    /// # Errors
    /// [`OutboundError::Refused`]
    pub fn check(base: &BaseUrl, allow_private: bool) -> Result<(), OutboundError> {
        upstream::expect_allowed(base, allow_private)
    }

    /// Sends a request to `base` and returns the head of the response, within `limit`. The
    /// request's target must be a path. A redirect is not followed.
    ///
    /// # Errors
    /// There is no response. The receiver may have got the request, except with
    /// [`OutboundError::Refused`].
    pub async fn send(
        &self,
        base: &BaseUrl,
        allow_private: bool,
        request: Request<Bytes>,
        limit: Duration,
    ) -> Result<Head, OutboundError> {
        Self::check(base, allow_private)?;
        let route = self.egress.default_route(base, allow_private);
        upstream::post(&self.dialer, &route, base, request, limit).await
    }
}
