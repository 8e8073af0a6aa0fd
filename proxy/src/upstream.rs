//! Sends a request to its provider: over a pooled connection with verified TLS, following no
//! redirect, and resending nothing that the provider may have acted on ([`resend`]).
//!
//! The destination was decided before. This module returns the response's head, or a refusal.

mod address;
mod contradiction;
mod dial;
mod egress_proxy;
mod outbound;
mod pool;
mod reachability;
mod resend;
mod socket;
mod tcp;

use std::{error::Error as StdError, mem, sync::Arc};

pub(crate) use address::AddressPolicy;
use dial::ConnectError;
pub(crate) use dial::Dialer;
pub use egress_proxy::CredentialsError;
pub(crate) use egress_proxy::{EgressProxy, EgressRoute, ProxyCredentials};
use http::{
    HeaderValue, Request, Response, Uri, header,
    uri::{Authority, Scheme},
};
use hyper::{body::Incoming, client::conn::TrySendError};
use keyside_config::{BaseUrl, Cause};
use keyside_credentials::{Grant, WorkspaceId};
pub use outbound::OutboundError;
pub(crate) use outbound::{expect_allowed, post};
pub(crate) use pool::Lease;
use pool::{AllPools, Connection, Pool, Pools, idle_lifetime};
pub(crate) use reachability::check_reachable;
pub use reachability::{Reachable, Unreachable};
use resend::{ResendCandidate, ResendState};
use socket::ConnectionHandle;
use tcp::TcpError;

use crate::{
    head_limits::HeadLimits,
    hop,
    quota::{Quota, QuotaPermit, Release},
    refusal::{Refusal, Sent, Wait},
    request_body::{RequestBody, RequestBodyError},
};

/// One host and the connections to it. Each listener has its own, because a connection lives on the
/// runtime that opened it.
pub(crate) struct Upstream {
    base: BaseUrl,
    route: EgressRoute,
    authority: Authority,
    /// The authority as the `Host` header of HTTP/1.1.
    host: HeaderValue,
    dialer: Arc<Dialer>,
    pools: Arc<Pools>,
    quotas: ConnectionQuotas,
}

/// Limits on upstream connections, over all listeners.
#[derive(Clone)]
pub(crate) struct ConnectionQuotas {
    pub(crate) process_wide: Arc<ConnectionLimit>,
    /// For one provider: a destination of each listener, with a host for each endpoint.
    pub(crate) destination: Arc<ConnectionLimit>,
    /// The requests in flight. Each may have a response that its client does not read, see
    /// [`stream_window`].
    pub(crate) requests: Arc<Quota>,
}

/// A limit on upstream connections.
pub(crate) struct ConnectionLimit {
    quota: Arc<Quota>,
    /// The pools of all hosts whose connections count: an idle connection holds a slot too and can
    /// be closed to free it.
    pools: AllPools,
}

impl ConnectionLimit {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            quota: Quota::new(total),
            pools: AllPools::default(),
        })
    }
}

/// The slot of one connection, held for as long as its socket is open.
pub(crate) struct ConnectionSlot {
    _permits: Option<(QuotaPermit, QuotaPermit)>,
}

impl ConnectionSlot {
    /// For a connection that serves no request and so is not counted.
    fn uncounted() -> Self {
        Self { _permits: None }
    }
}

/// What has to be released before a workspace gets another slot; `None` for a limit that is not
/// reached.
struct Reached {
    destination: Option<Release>,
    process_wide: Option<Release>,
}

impl ConnectionQuotas {
    fn try_acquire(&self, workspace: &WorkspaceId) -> Result<ConnectionSlot, Reached> {
        let destination = self.destination.quota.try_acquire(workspace);
        let process_wide = self.process_wide.quota.try_acquire(workspace);
        match (destination, process_wide) {
            (Ok(destination), Ok(process_wide)) => Ok(ConnectionSlot {
                _permits: Some((destination, process_wide)),
            }),
            (destination, process_wide) => Err(Reached {
                destination: destination.err(),
                process_wide: process_wide.err(),
            }),
        }
    }

    /// Removes an idle connection whose slot helps `workspace` to another one. First one of the
    /// destination: it counts towards both limits.
    fn remove_idle(&self, workspace: &WorkspaceId, reached: &Reached) -> Option<ConnectionHandle> {
        let limits = [
            (&self.destination, reached.destination),
            (&self.process_wide, reached.process_wide),
        ];
        // The slot of another workspace would not be enough then.
        let own = limits.iter().any(|it| it.1 == Some(Release::Own));
        let may_lose = |owner: &WorkspaceId| !own || owner == workspace;
        let mut reached = limits.iter().filter(|it| it.1.is_some());
        reached.find_map(|(limit, _)| limit.pools.remove_idle(may_lose))
    }
}

/// The head of a response, and a lease on the connection that its body arrives on.
pub(crate) struct LeasedResponse {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
}

/// Why there is no response: the refusal that the client gets, and the cause for the log.
pub(crate) struct Failure {
    pub(crate) refusal: Refusal,
    /// The error and its sources. It contains addresses and names from certificates, never a
    /// header.
    pub(crate) cause: Option<String>,
    /// Where on the way to the provider it failed, for live checks.
    pub(crate) unreachable: Cause,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let unreachable = match refusal {
            Refusal::UpstreamUnreachable(_) => Cause::ConnectionFailed,
            Refusal::UpstreamTls => Cause::TlsFailed,
            Refusal::UpstreamTimeout(_) => Cause::TimedOut,
            _ => Cause::NotSent,
        };
        Self {
            refusal,
            cause: None,
            unreachable,
        }
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(
        "the limit on upstream connections is reached; see \
        `proxy.limits.upstream_connections` and \
        `proxy.limits.upstream_connections_per_destination`"
    )]
    ConnectionLimit,
    #[error("could not connect to the upstream")]
    Connect(#[from] ConnectError),
    #[error("the HTTP exchange with the upstream failed")]
    Http(#[from] hyper::Error),
    #[error("the head of the response did not arrive in time")]
    Timeout(Wait),
    #[error(
        "the head of the response is larger than `proxy.limits.headers` and \
         `proxy.limits.header_bytes` allow"
    )]
    HeadTooLarge,
    #[error("the response has a transfer coding other than chunked")]
    TransferCoding,
}

impl Upstream {
    /// `None` if HTTP cannot represent the host's name.
    pub(crate) fn new(
        base: BaseUrl,
        route: EgressRoute,
        dialer: Arc<Dialer>,
        quotas: ConnectionQuotas,
    ) -> Option<Self> {
        let authority = base.authority();
        let pools = Arc::default();
        for limit in [&quotas.process_wide, &quotas.destination] {
            limit.pools.add(&pools);
        }
        Some(Self {
            host: HeaderValue::from_str(&authority).ok()?,
            authority: authority.parse().ok()?,
            base,
            route,
            dialer,
            pools,
            quotas,
        })
    }

    /// The egress proxy that connections go through, as `host:port`.
    pub(crate) fn proxy(&self) -> Option<&str> {
        self.route.proxy()
    }

    /// The path of the base URL, which every request's path begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.base.path
    }

    /// Sends the request on a connection of its credential and waits for the head of the response.
    /// The request's target must be a path.
    ///
    /// The request is resent only if the peer cannot have acted on it ([`resend`]). The caller
    /// limits the wait. `sent` is called each time that a connection gets the request: before the
    /// first, the peer cannot have received anything.
    pub(crate) async fn forward(
        &self,
        request: Request<RequestBody>,
        grant: &Grant,
        upgrade: bool,
        sent: &(dyn Fn() + Sync),
    ) -> Result<LeasedResponse, Failure> {
        let answered = match upgrade {
            true => Box::pin(self.send_dedicated(request, grant.workspace(), sent)).await,
            false => self.send(request, grant, sent).await,
        };
        let answered = answered.and_then(|answer| {
            let headers = answer.response.headers();
            match self.dialer.heads().allow(headers) {
                true if hop::is_only_chunked(headers) => Ok(answer),
                true => Err(SendError::TransferCoding),
                false => Err(SendError::HeadTooLarge),
            }
        });
        answered.map_err(|error| diagnose(&error))
    }

    async fn send(
        &self,
        mut request: Request<RequestBody>,
        grant: &Grant,
        sent: &(dyn Fn() + Sync),
    ) -> Result<LeasedResponse, SendError> {
        let pool = self.pools.of(grant);
        let mut resends = ResendState::default();
        loop {
            let kept = match resends.wants_new_connection() {
                true => None,
                false => pool.take(),
            };
            let (connection, is_kept) = match kept {
                Some(kept) => (kept, true),
                // Boxed: few requests open a connection, and the others need no space for its
                // future.
                None => Box::pin(self.open(&pool, grant.workspace())).await?,
            };
            let resend = ResendCandidate::of(&request, &connection, is_kept);
            sent();
            match self.send_on(Some(&pool), connection, request).await {
                Ok(answer) => return Ok(answer),
                // Boxed: few requests are resent.
                Err(failed) => request = Box::pin(resends.next(failed, resend)).await?,
            }
        }
    }

    /// Sends on a connection of its own, which can become a tunnel.
    async fn send_dedicated(
        &self,
        request: Request<RequestBody>,
        workspace: &WorkspaceId,
        sent: &(dyn Fn() + Sync),
    ) -> Result<LeasedResponse, SendError> {
        let slot = self.acquire_slot(workspace).await?;
        let dialed = self.dialer.dial(&self.base, &self.route, slot, None);
        let own = dialed.await?;
        sent();
        let answered = self.send_on(None, own, request).await;
        Ok(answered.map_err(TrySendError::into_error)?)
    }

    /// Opens a connection. Returns true with it if it is one that another request has opened
    /// meanwhile.
    ///
    /// Whether requests can share a connection is known only once the first is open: until then one
    /// request opens it and the others wait. If it is HTTP/2, connections are opened one at a time.
    async fn open(
        &self,
        pool: &Arc<Pool>,
        workspace: &WorkspaceId,
    ) -> Result<(Connection, bool), SendError> {
        let mut opening = pool.opening.try_lock().ok();
        if opening.is_none() {
            let waited = pool.opening.lock().await;
            if let Some(kept) = pool.take() {
                return Ok((kept, true));
            }
            opening = pool.is_http2().then_some(waited);
        }
        let slot = self.acquire_slot(workspace).await?;
        let window = stream_window(self.quotas.requests.in_use());
        let shared = Some((&**pool, window));
        let dialed = self.dialer.dial(&self.base, &self.route, slot, shared);
        let dialed = dialed.await;
        drop(opening);
        Ok((dialed?, false))
    }

    /// A slot for one more connection. If none is free, an idle connection is closed.
    ///
    /// Each request waits for the connection that it closed, not for that of another request, so
    /// nothing that one destination does delays another. A request that has just come may take the
    /// slot: then the next connection is closed.
    async fn acquire_slot(&self, workspace: &WorkspaceId) -> Result<ConnectionSlot, SendError> {
        loop {
            let reached = match self.quotas.try_acquire(workspace) {
                Ok(slot) => return Ok(slot),
                Err(reached) => reached,
            };
            let Some(idle) = self.quotas.remove_idle(workspace, &reached) else {
                // One may have become free since the attempt.
                let slot = self.quotas.try_acquire(workspace);
                return slot.map_err(|_| SendError::ConnectionLimit);
            };
            // On a task of its own, which goes on if the client leaves.
            let _ = tokio::spawn(idle.close()).await;
        }
    }

    async fn send_on(
        &self,
        pool: Option<&Arc<Pool>>,
        connection: Connection,
        mut request: Request<RequestBody>,
    ) -> Result<LeasedResponse, TrySendError<Request<RequestBody>>> {
        self.set_target(&mut request, &connection);
        let (response, lease) = match connection {
            Connection::Http1(mut connection) => {
                connection.received.clear();
                let response = connection.sender.try_send_request(request).await?;
                let lease = pool.map_or_else(Lease::released, |pool| {
                    let lifetime = idle_lifetime(response.headers());
                    Lease::http1(pool.clone(), connection, lifetime)
                });
                (response, lease)
            }
            Connection::Http2(mut sender, stream) => {
                let response = sender.try_send_request(request).await?;
                stream.answered();
                (response, Lease::http2(stream))
            }
        };
        Ok(LeasedResponse { response, lease })
    }

    /// Sets the target as the connection's HTTP version needs it. Until then it is a path, or the
    /// form that an earlier connection needed.
    fn set_target(&self, request: &mut Request<RequestBody>, connection: &Connection) {
        let mut target = mem::take(request.uri_mut()).into_parts();
        match connection {
            Connection::Http1(_) => {
                (target.scheme, target.authority) = (None, None);
                let host = self.host.clone();
                request.headers_mut().insert(header::HOST, host);
            }
            Connection::Http2(..) => {
                target.scheme = Some(Scheme::HTTPS);
                target.authority = Some(self.authority.clone());
                request.headers_mut().remove(header::HOST);
            }
        }
        *request.uri_mut() = Uri::from_parts(target).unwrap_or_default();
    }
}

/// The stream window of a new HTTP/2 connection, in bytes. Responses that no client reads stay in
/// our memory, so the window shrinks as more requests are in flight.
fn stream_window(in_flight: usize) -> u32 {
    let share = TOTAL_WINDOW / u32::try_from(in_flight).unwrap_or(u32::MAX).max(1);
    share.clamp(MIN_WINDOW, MAX_WINDOW)
}

/// The failure for a caller whose wait for the response's head is over, after the request was sent
/// or before.
pub(crate) fn timed_out(sent: bool) -> Failure {
    diagnose(&SendError::Timeout(match sent {
        true => Wait::FirstByte,
        false => Wait::Connection,
    }))
}

/// Maps an error to the client's refusal, with the details for the log.
fn diagnose(error: &SendError) -> Failure {
    let refusal = match error {
        _ if find_cause::<RequestBodyError>(error).is_some() => {
            Refusal::RequestMalformed("has a body that broke off before its end")
        }
        // A TLS error while connecting means that nothing was sent, because the request is written
        // only after the handshake. A later TLS error may follow a key that was already sent.
        SendError::Connect(ConnectError::Tls(_) | ConnectError::ProxyTls { .. })
            if find_cause::<rustls::Error>(error).is_some() =>
        {
            Refusal::UpstreamTls
        }
        SendError::ConnectionLimit => Refusal::Overloaded,
        SendError::Connect(ConnectError::Timeout(_) | ConnectError::ProxyTimeout(_)) => {
            Refusal::UpstreamTimeout(Wait::Connection)
        }
        SendError::Connect(_) => Refusal::UpstreamUnreachable(Sent::No),
        SendError::Timeout(wait) => Refusal::UpstreamTimeout(*wait),
        SendError::Http(_) | SendError::HeadTooLarge | SendError::TransferCoding => {
            Refusal::UpstreamUnreachable(Sent::Perhaps)
        }
    };
    Failure {
        cause: Some(error_chain(error)),
        unreachable: unreachable(error).unwrap_or(Failure::from(refusal).unreachable),
        refusal,
    }
}

/// Where the way to the provider ended, if the error is more precise than the refusal.
fn unreachable(error: &SendError) -> Option<Cause> {
    let SendError::Connect(error) = error else {
        return None;
    };
    match error {
        ConnectError::Tcp(TcpError::Connect { .. }) | ConnectError::Http(_) => {
            Some(Cause::ConnectionFailed)
        }
        ConnectError::Tcp(_) => Some(Cause::DnsFailed),
        ConnectError::Tls(_) | ConnectError::ProxyTls { .. } | ConnectError::Name(_) => {
            Some(Cause::TlsFailed)
        }
        ConnectError::Proxy { .. } | ConnectError::ProxyTimeout(_) => Some(Cause::ProxyFailed),
        ConnectError::Timeout(_) => Some(Cause::TimedOut),
    }
}

fn find_cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    causes(error).find_map(<dyn StdError>::downcast_ref)
}

/// The messages of the error and its sources. Repeated ones are dropped: an `io::Error` has the
/// same message as the error it wraps.
fn error_chain(error: &(dyn StdError + 'static)) -> String {
    let mut said: Vec<String> = causes(error).map(|cause| cause.to_string()).collect();
    said.dedup();
    said.join(": ")
}

/// The error and its sources, outermost first.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| source_of(*error))
}

/// An `io::Error` skips the error that it wraps: its `source` is that error's source.
fn source_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let made_from = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match made_from {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// Bytes: target for all HTTP/2 stream windows together.
const TOTAL_WINDOW: u32 = 32 << 20;
/// Bytes: HTTP/2's default frame size. Less would split the frames that providers send.
const MIN_WINDOW: u32 = 16 << 10;
/// Bytes: allows 5 MB/s at a round trip of 50 ms. hyper's default is 2 MiB.
const MAX_WINDOW: u32 = 256 << 10;
