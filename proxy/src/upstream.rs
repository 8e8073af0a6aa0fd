//! Carries a request to its provider: kept connections, verified TLS, no redirect
//! followed, nothing sent again that a provider may have acted on ([`resend`]).
//!
//! Where it goes was decided before: this module only gets there, or says in which
//! of four ways it did not.

mod address;
mod contradiction;
mod dial;
mod egress_proxy;
mod pool;
mod reachability;
mod resend;
mod socket;
mod tcp;

use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub(crate) use address::AddressPolicy;
use dial::ConnectError;
pub(crate) use dial::Dialer;
pub use egress_proxy::CredentialsError;
pub(crate) use egress_proxy::{EgressProxy, EgressRoute, ProxyCredentials};
use http::{
    HeaderValue, Request, Response, Uri, header,
    uri::{self, Authority, PathAndQuery, Scheme},
};
use hyper::{body::Incoming, client::conn::TrySendError};
use keyside_config::BaseUrl;
use keyside_credentials::{Grant, WorkspaceId};
pub(crate) use pool::{AllPools, Lease};
use pool::{Connection, Pool, Pools, idle_lifetime};
pub(crate) use reachability::check_reachable;
pub use reachability::{Reachable, Unreachable};
use resend::{ResendCandidate, ResendState};
use tokio::time::timeout;

use crate::{
    head_limits::HeadLimits,
    hop,
    quota::{Quota, QuotaPermit},
    refusal::{Refusal, Sent, Wait},
    request_body::{RequestBody, RequestBodyError},
};

/// One host that requests go to, with the connections to it. One for each listener:
/// a connection lives on the runtime that opened it.
pub(crate) struct Upstream {
    base: BaseUrl,
    route: EgressRoute,
    authority: Authority,
    /// The same, as HTTP/1.1 wants it.
    host: HeaderValue,
    dialer: Arc<Dialer>,
    pools: Arc<Pools>,
    quotas: ConnectionQuotas,
}

/// How many connections there may be: over all upstreams, and to this one. Over all listeners.
#[derive(Clone)]
pub(crate) struct ConnectionQuotas {
    pub(crate) process_wide: Arc<Quota>,
    pub(crate) destination: Arc<Quota>,
    /// Where idle connections are, which take places too.
    pub(crate) pools: Arc<AllPools>,
    /// The requests in flight, of which each may have an answer that nobody reads.
    pub(crate) requests: Arc<Quota>,
}

/// One of them, for as long as its socket is open.
pub(crate) struct ConnectionSlot {
    _permits: Option<(QuotaPermit, QuotaPermit)>,
}

impl ConnectionSlot {
    /// For a connection that is not for requests, and so takes no place of theirs.
    fn uncounted() -> Self {
        Self { _permits: None }
    }
}

impl ConnectionQuotas {
    fn try_acquire(&self, workspace: &WorkspaceId) -> Option<ConnectionSlot> {
        let permits = (
            self.destination.try_acquire(workspace)?,
            self.process_wide.try_acquire(workspace)?,
        );
        Some(ConnectionSlot {
            _permits: Some(permits),
        })
    }
}

/// The head of an answer, and the connection that the rest comes over.
pub(crate) struct LeasedResponse {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
}

/// Why there is no answer: what the client is told, and what only the log says.
pub(crate) struct Failure {
    pub(crate) refusal: Refusal,
    /// The error and what caused it. It holds addresses and certificates' names, never a header.
    pub(crate) cause: Option<String>,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            cause: None,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("as many upstream connections are open as there may be")]
    ConnectionLimit,
    #[error("no connection to the upstream")]
    Connect(#[from] ConnectError),
    #[error("the exchange with the upstream failed")]
    Http(#[from] hyper::Error),
    #[error("the head of an answer did not come in time")]
    Timeout(Wait),
    #[error(
        "the head of an answer is larger than `proxy.limits.headers` and `proxy.limits.header_bytes` allow"
    )]
    HeadTooLarge,
    #[error("the answer has a transfer coding that nobody asked for")]
    TransferCoding,
}

impl Upstream {
    /// `None` where the host's name is none that HTTP can carry.
    pub(crate) fn new(
        base: BaseUrl,
        route: EgressRoute,
        dialer: Arc<Dialer>,
        quotas: ConnectionQuotas,
    ) -> Option<Self> {
        let authority = base.authority();
        let pools = Arc::default();
        quotas.pools.add(&pools);
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

    /// What every path begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.base.path
    }

    /// Sends the request on a connection of its credential's, and waits for the head of its answer. Its target is a path.
    ///
    /// It is sent again only where the peer cannot have acted on it ([`resend`]). How long to wait is for the caller to
    /// say; `sent` tells whether the peer may have got something by then.
    pub(crate) async fn forward(
        &self,
        request: Request<RequestBody>,
        grant: &Grant,
        upgrade: bool,
        sent: &AtomicBool,
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
        sent: &AtomicBool,
    ) -> Result<LeasedResponse, SendError> {
        let pool = self.pools.of(grant.credential_id());
        let mut resends = ResendState::default();
        loop {
            let kept = match resends.wants_new_connection() {
                true => None,
                false => pool.take(),
            };
            let (connection, is_kept) = match kept {
                Some(kept) => (kept, true),
                // Boxed, so that opening a connection, which few requests do, takes no room in all of them.
                None => Box::pin(self.open(&pool, grant.workspace())).await?,
            };
            let resend = ResendCandidate::of(&request, &connection, is_kept);
            sent.store(true, Ordering::Relaxed);
            match self.send_on(&pool, connection, request).await {
                Ok(answer) => return Ok(answer),
                // Boxed, as few requests are sent again.
                Err(failed) => request = Box::pin(resends.next(failed, resend)).await?,
            }
        }
    }

    /// Sends on a connection of its own, which can become a tunnel.
    async fn send_dedicated(
        &self,
        request: Request<RequestBody>,
        workspace: &WorkspaceId,
        sent: &AtomicBool,
    ) -> Result<LeasedResponse, SendError> {
        let slot = self.acquire_slot(workspace).await?;
        let own = self
            .dialer
            .dial_dedicated(&self.base, &self.route, slot)
            .await?;
        sent.store(true, Ordering::Relaxed);
        let answered = self.send_on(&Arc::default(), own, request).await;
        let answer = answered.map_err(TrySendError::into_error)?;
        Ok(LeasedResponse {
            lease: Lease::released(),
            ..answer
        })
    }

    /// A new connection, or (then with true) one that another request has opened meanwhile. Whether they can share one shows when the first
    /// is open: until then one request opens it, and the others wait for that. Where they can, one is opened at a time.
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
        let shared = (&**pool, window);
        let dialed = self.dialer.dial(&self.base, &self.route, slot, shared);
        let dialed = dialed.await;
        drop(opening);
        Ok((dialed?, false))
    }

    /// A place for one more connection. Where there is none, one that lies idle makes room; closing it takes a moment.
    async fn acquire_slot(&self, workspace: &WorkspaceId) -> Result<ConnectionSlot, SendError> {
        let quotas = &self.quotas;
        if let Some(slot) = quotas.try_acquire(workspace) {
            return Ok(slot);
        }
        let released = quotas.process_wide.released();
        let short = |quota: &Quota| quota.one_release_suffices(workspace);
        let closed = match (short(&quotas.destination), short(&quotas.process_wide)) {
            // Closing connections to others would make no place here.
            (Some(true), _) => self.pools.close_idle(),
            (None, Some(true)) => quotas.pools.close_idle(),
            // A workspace that has its share gets no more of it at the cost of others.
            _ => false,
        };
        if closed {
            let _ = timeout(CLOSE_TIMEOUT, released).await;
        }
        quotas
            .try_acquire(workspace)
            .ok_or(SendError::ConnectionLimit)
    }

    async fn send_on(
        &self,
        pool: &Arc<Pool>,
        connection: Connection,
        mut request: Request<RequestBody>,
    ) -> Result<LeasedResponse, TrySendError<Request<RequestBody>>> {
        self.set_target(&mut request, &connection);
        let (response, lease) = match connection {
            Connection::Http1(mut connection) => {
                connection.received.clear();
                let response = connection.sender.try_send_request(request).await?;
                let lifetime = idle_lifetime(response.headers());
                let lease = Lease::http1(pool.clone(), connection, lifetime);
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

    /// Says where the request goes, in the words of the connection's version. Its target may be a path, or what an
    /// earlier connection made of it.
    fn set_target(&self, request: &mut Request<RequestBody>, connection: &Connection) {
        let path = request.uri().path_and_query().cloned();
        let path = path.unwrap_or(PathAndQuery::from_static("/"));
        match connection {
            Connection::Http1(_) => {
                *request.uri_mut() = path.into();
                request
                    .headers_mut()
                    .insert(header::HOST, self.host.clone());
            }
            Connection::Http2(..) => {
                let mut target = uri::Parts::default();
                target.scheme = Some(Scheme::HTTPS);
                target.authority = Some(self.authority.clone());
                target.path_and_query = Some(path);
                *request.uri_mut() = Uri::from_parts(target).unwrap_or_default();
                request.headers_mut().remove(header::HOST);
            }
        }
    }
}

/// What one answer on a new HTTP/2 connection may have on the way, in bytes, while so many requests are in flight. What
/// nobody reads stays with us: so the more there are, the less each may have.
fn stream_window(in_flight: usize) -> u32 {
    let share = TOTAL_WINDOW / u32::try_from(in_flight).unwrap_or(u32::MAX).max(1);
    share.clamp(MIN_WINDOW, MAX_WINDOW)
}

/// For a caller that waits no longer for the head of an answer to a request that was sent, or was not yet.
pub(crate) fn timed_out(sent: bool) -> Failure {
    diagnose(&SendError::Timeout(match sent {
        true => Wait::FirstByte,
        false => Wait::Connection,
    }))
}

/// What the client is told, with the details for the line that the log has of the request.
fn diagnose(error: &SendError) -> Failure {
    let refusal = match error {
        _ if find_cause::<RequestBodyError>(error).is_some() => {
            Refusal::RequestMalformed("has a body that broke off before its end")
        }
        // No byte of a request is written before the handshake is over. What TLS complains of after it, the key may have
        // been sent with.
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
        refusal,
        cause: Some(error_chain(error)),
    }
}

fn find_cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    causes(error).find_map(<dyn StdError>::downcast_ref)
}

/// What the error and its causes say, each once: an `io::Error` says what the error says that it was made from.
fn error_chain(error: &(dyn StdError + 'static)) -> String {
    let mut said: Vec<String> = causes(error).map(|cause| cause.to_string()).collect();
    said.dedup();
    said.join(": ")
}

/// The error and what is behind it, outermost first.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| source_of(*error))
}

/// An `io::Error` hides the error it was made from: its `source` is that error's
/// source.
fn source_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let made_from = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match made_from {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// What all answers together are meant to have on the way from HTTP/2 upstreams, in bytes.
const TOTAL_WINDOW: u32 = 32 << 20;
/// The largest frame: less would cut what providers send at once.
const MIN_WINDOW: u32 = 16 << 10;
/// 5 MB/s over a path of 50 ms. hyper allows 2 MiB.
const MAX_WINDOW: u32 = 256 << 10;

/// How long a connection takes at most to close, before the request that needs its place is refused.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(50);
