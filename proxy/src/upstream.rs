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
mod resend;
mod socket;
mod tcp;
mod trial;

use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub(crate) use address::Reach;
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
use resend::{Resend, Resends};
use tokio::time::timeout;
pub(crate) use trial::reach;
pub use trial::{Reached, Unreached};

use crate::{
    head_limits::HeadLimits,
    hop,
    inbound::{Inbound, InboundError},
    quota::{Quota, Share},
    refusal::{Refusal, Sent, Wait},
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
    places: Places,
}

/// How many connections there may be: over all upstreams, and to this one. Over all listeners.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) all: Arc<Quota>,
    pub(crate) here: Arc<Quota>,
    /// Where idle connections are, which take places too.
    pub(crate) pools: Arc<AllPools>,
    /// The requests in flight, of which each may have an answer that nobody reads.
    pub(crate) requests: Arc<Quota>,
}

/// One of them, for as long as its socket is open.
pub(crate) struct Slot {
    _shares: Option<(Share, Share)>,
}

impl Slot {
    /// For a connection that is not for requests, and so takes no place of theirs.
    fn uncounted() -> Self {
        Self { _shares: None }
    }
}

impl Places {
    fn take(&self, workspace: &WorkspaceId) -> Option<Slot> {
        let shares = (self.here.take(workspace)?, self.all.take(workspace)?);
        Some(Slot {
            _shares: Some(shares),
        })
    }
}

/// The head of an answer, and the connection that the rest comes over.
pub(crate) struct Answer {
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
    Crowded,
    #[error("no connection to the upstream")]
    Connect(#[from] ConnectError),
    #[error("the exchange with the upstream failed")]
    Exchange(#[from] hyper::Error),
    #[error("the head of an answer did not come in time")]
    TooSlow(Wait),
    #[error(
        "the head of an answer is larger than `proxy.limits.headers` and `proxy.limits.header_bytes` allow"
    )]
    HeadTooLarge,
    #[error("the answer has a transfer coding that nobody asked for")]
    Coding,
}

impl Upstream {
    /// `None` where the host's name is none that HTTP can carry.
    pub(crate) fn new(
        base: BaseUrl,
        route: EgressRoute,
        dialer: Arc<Dialer>,
        places: Places,
    ) -> Option<Self> {
        let authority = base.authority();
        let pools = Arc::default();
        places.pools.add(&pools);
        Some(Self {
            host: HeaderValue::from_str(&authority).ok()?,
            authority: authority.parse().ok()?,
            base,
            route,
            dialer,
            pools,
            places,
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
        request: Request<Inbound>,
        grant: &Grant,
        upgrade: bool,
        sent: &AtomicBool,
    ) -> Result<Answer, Failure> {
        let answered = match upgrade {
            true => Box::pin(self.send_alone(request, grant.workspace(), sent)).await,
            false => self.send(request, grant, sent).await,
        };
        let answered = answered.and_then(|answer| {
            let headers = answer.response.headers();
            match self.dialer.heads().hold(headers) {
                true if hop::is_plainly_chunked(headers) => Ok(answer),
                true => Err(SendError::Coding),
                false => Err(SendError::HeadTooLarge),
            }
        });
        answered.map_err(|error| diagnose(&error))
    }

    async fn send(
        &self,
        mut request: Request<Inbound>,
        grant: &Grant,
        sent: &AtomicBool,
    ) -> Result<Answer, SendError> {
        let pool = self.pools.of(grant.credential_id());
        let mut resends = Resends::default();
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
            let resend = Resend::of(&request, &connection, is_kept);
            sent.store(true, Ordering::Relaxed);
            match self.send_on(&pool, connection, request).await {
                Ok(answer) => return Ok(answer),
                // Boxed, as few requests are sent again.
                Err(failed) => request = Box::pin(resends.next(failed, resend)).await?,
            }
        }
    }

    /// Sends on a connection of its own, which can become a tunnel.
    async fn send_alone(
        &self,
        request: Request<Inbound>,
        workspace: &WorkspaceId,
        sent: &AtomicBool,
    ) -> Result<Answer, SendError> {
        let slot = self.slot(workspace).await?;
        let own = self
            .dialer
            .dial_alone(&self.base, &self.route, slot)
            .await?;
        sent.store(true, Ordering::Relaxed);
        let answered = self.send_on(&Arc::default(), own, request).await;
        let answer = answered.map_err(TrySendError::into_error)?;
        Ok(Answer {
            lease: Lease::none(),
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
            opening = pool.multiplexes().then_some(waited);
        }
        let slot = self.slot(workspace).await?;
        let window = stream_window(self.places.requests.taken());
        let shared = (&**pool, window);
        let dialed = self.dialer.dial(&self.base, &self.route, slot, shared);
        let dialed = dialed.await;
        drop(opening);
        Ok((dialed?, false))
    }

    /// A place for one more connection. Where there is none, one that lies idle makes room; closing it takes a moment.
    async fn slot(&self, workspace: &WorkspaceId) -> Result<Slot, SendError> {
        let places = &self.places;
        if let Some(slot) = places.take(workspace) {
            return Ok(slot);
        }
        let given_back = places.all.given_back();
        let short = |quota: &Quota| quota.is_short_of_one(workspace);
        let closed = match (short(&places.here), short(&places.all)) {
            // Closing connections to others would make no place here.
            (Some(true), _) => self.pools.close_an_idle_one(),
            (None, Some(true)) => places.pools.close_an_idle_one(),
            // A workspace that has its share gets no more of it at the cost of others.
            _ => false,
        };
        if closed {
            let _ = timeout(CLOSING_TAKES, given_back).await;
        }
        places.take(workspace).ok_or(SendError::Crowded)
    }

    async fn send_on(
        &self,
        pool: &Arc<Pool>,
        connection: Connection,
        mut request: Request<Inbound>,
    ) -> Result<Answer, TrySendError<Request<Inbound>>> {
        self.address(&mut request, &connection);
        let (response, lease) = match connection {
            Connection::Http1(mut connection) => {
                connection.heard.nothing_yet();
                let response = connection.sender.try_send_request(request).await?;
                let lifetime = idle_lifetime(response.headers());
                let lease = Lease::whole(pool.clone(), connection, lifetime);
                (response, lease)
            }
            Connection::Http2(mut sender, stream) => {
                let response = sender.try_send_request(request).await?;
                stream.answered();
                (response, Lease::part(stream))
            }
        };
        Ok(Answer { response, lease })
    }

    /// Says where the request goes, in the words of the connection's version. Its target may be a path, or what an
    /// earlier connection made of it.
    fn address(&self, request: &mut Request<Inbound>, connection: &Connection) {
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
    let share = UNREAD / u32::try_from(in_flight).unwrap_or(u32::MAX).max(1);
    share.clamp(SMALLEST_WINDOW, LARGEST_WINDOW)
}

/// For a caller that waits no longer for the head of an answer to a request that was sent, or was not yet.
pub(crate) fn too_slow(sent: bool) -> Failure {
    diagnose(&SendError::TooSlow(match sent {
        true => Wait::FirstByte,
        false => Wait::Connection,
    }))
}

/// What the client is told, with the details for the line that the log has of the request.
fn diagnose(error: &SendError) -> Failure {
    let refusal = match error {
        _ if find::<InboundError>(error).is_some() => {
            Refusal::RequestMalformed("has a body that broke off before its end")
        }
        // No byte of a request is written before the handshake is over. What TLS complains of after it, the key may have
        // been sent with.
        SendError::Connect(ConnectError::Tls(_) | ConnectError::TlsThrough { .. })
            if find::<rustls::Error>(error).is_some() =>
        {
            Refusal::UpstreamTls
        }
        SendError::Crowded => Refusal::Overloaded,
        SendError::Connect(ConnectError::TooSlow(_) | ConnectError::TooSlowThrough(_)) => {
            Refusal::UpstreamTimeout(Wait::Connection)
        }
        SendError::Connect(_) => Refusal::UpstreamUnreachable(Sent::No),
        SendError::TooSlow(wait) => Refusal::UpstreamTimeout(*wait),
        SendError::Exchange(_) | SendError::HeadTooLarge | SendError::Coding => {
            Refusal::UpstreamUnreachable(Sent::Perhaps)
        }
    };
    Failure {
        refusal,
        cause: Some(story(error)),
    }
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    causes(error).find_map(<dyn StdError>::downcast_ref)
}

/// What the error and its causes say, each once: an `io::Error` says what the error says that it was made from.
fn story(error: &(dyn StdError + 'static)) -> String {
    let mut said: Vec<String> = causes(error).map(|cause| cause.to_string()).collect();
    said.dedup();
    said.join(": ")
}

/// The error and what is behind it, outermost first.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| behind(*error))
}

/// An `io::Error` hides the error it was made from: its `source` is that error's
/// source.
fn behind<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let made_from = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match made_from {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// What all answers together are meant to have on the way from HTTP/2 upstreams, in bytes.
const UNREAD: u32 = 32 << 20;
/// The largest frame: less would cut what providers send at once.
const SMALLEST_WINDOW: u32 = 16 << 10;
/// 5 MB/s over a path of 50 ms. hyper allows 2 MiB.
const LARGEST_WINDOW: u32 = 256 << 10;

/// How long a connection takes at most to close, before the request that needs its place is refused.
const CLOSING_TAKES: Duration = Duration::from_millis(50);
