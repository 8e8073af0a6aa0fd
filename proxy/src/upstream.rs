//! Carries a request to its provider: pooled connections, verified TLS, no
//! redirect followed, a body delivered at most once.
//!
//! Where it goes was decided before: this module only gets there, or says in
//! which of three ways it did not.

mod address;
mod connect;

use crate::gateway::{Inbound, InboundError};
use crate::refusal::Refusal;
use connect::{Bounded, Connector};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use keyside_config::Deadlines;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error as StdError;
use std::time::Duration;
use tokio::time::error::Elapsed;

/// Connections to all providers. One for each listener: a pooled connection
/// lives on the runtime that opened it.
pub(crate) struct Upstream {
    /// HTTP/1.1 or HTTP/2, as the provider prefers.
    pooled: Client<Bounded<HttpsConnector<Connector>>, Inbound>,
    /// HTTP/1.1 only, for WebSocket handshakes.
    upgradable: Client<Bounded<HttpsConnector<Connector>>, Inbound>,
}

/// The trusted certificates could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Neither the system's store nor `SSL_CERT_FILE` holds one.
    #[error(
        "no trusted certificates found; install ca-certificates, or name a file of them in SSL_CERT_FILE ({0})"
    )]
    NoRoots(String),
}

/// Reads the certificates that upstreams are verified against: the system's, or
/// those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Once, at start.
pub(crate) fn tls() -> Result<ClientConfig, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        let why: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoRoots(why.join("; ")));
    }
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}

impl Upstream {
    pub(crate) fn new(tls: &ClientConfig, deadlines: &Deadlines) -> Self {
        let https = || {
            HttpsConnectorBuilder::new()
                .with_tls_config(tls.clone())
                .https_or_http()
        };
        let bounded = |connector| Bounded {
            connector,
            deadline: deadlines.connect,
        };
        let pooled = bounded(https().enable_all_versions().wrap_connector(Connector));
        let upgradable = bounded(https().enable_http1().wrap_connector(Connector));
        let client = || {
            let mut client = Client::builder(TokioExecutor::new());
            client
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(POOL_IDLE)
                .http1_max_buf_size(READ_AT_ONCE);
            client
        };
        Self {
            pooled: client().build(pooled),
            upgradable: client().build(upgradable),
        }
    }

    /// Sends the request and waits for the head of its answer.
    ///
    /// A request whose bytes may have been sent is never sent again.
    pub(crate) async fn forward(
        &self,
        request: Request<Inbound>,
        upgrade: bool,
        first_byte: Duration,
    ) -> Result<Response<Incoming>, Refusal> {
        let client = if upgrade {
            &self.upgradable
        } else {
            &self.pooled
        };
        match tokio::time::timeout(first_byte, client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(diagnose(&error)),
            Err(_) => Err(Refusal::UpstreamTimeout),
        }
    }
}

/// What the client is told. The details go to the log; they hold addresses and
/// certificates' names, never a header.
fn diagnose(error: &Error) -> Refusal {
    let refusal = if find::<InboundError>(error).is_some() {
        Refusal::RequestMalformed("has a body that broke off before its end")
    } else if find::<rustls::Error>(error).is_some() {
        Refusal::UpstreamTls
    } else if find::<Elapsed>(error).is_some() {
        Refusal::UpstreamTimeout
    } else {
        Refusal::UpstreamUnreachable
    };
    let story: Vec<String> = causes(error).map(|cause| cause.to_string()).collect();
    tracing::warn!(
        code = refusal.code(),
        causes = story.join(": "),
        "no answer from upstream"
    );
    refusal
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    causes(error).find_map(<dyn StdError>::downcast_ref)
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

/// Shorter than providers keep idle connections, so that a request rarely meets
/// one that is just being closed: a POST would be lost with it.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// Bounds what one upstream can make us read and parse before others have their
/// turn, and so also the size of a response's head.
const READ_AT_ONCE: usize = 64 * 1024;
