//! Settings of the data plane.

mod document;
mod listen;

use std::time::Duration;

use http::HeaderName;
use serde::Deserialize;

pub(super) use self::document::ProxyDocument;
use crate::{address::ListenAddress, duration, parsed};

/// The data plane: who may connect, for how long, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Worker threads; 0 means one per core.
    pub threads: usize,
    /// Further names the `Host` header may hold, in lower case.
    pub hosts: Vec<String>,
    /// Header names that carry the workspace tag; `x-keyside-workspace` always comes first.
    pub tag_headers: Vec<HeaderName>,
    /// What the upstream is asked for.
    pub accept_encoding: AcceptEncoding,
    /// How long each phase may take.
    pub deadlines: Deadlines,
    /// How much the data plane takes on.
    pub limits: Limits,
}

impl Proxy {
    /// How many worker threads there are.
    pub fn workers(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

/// One listening socket, and what may be done through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens.
    pub address: ListenAddress,
    /// The workspaces it may use; empty means any known one, and a single one is implied.
    pub workspaces: Vec<String>,
    /// The environment it is pinned to.
    pub environment: EnvironmentPin,
    /// User ids that may connect to a Unix socket; empty means whoever may open the file.
    pub peer_uids: Vec<u32>,
}

/// The kind of credential a listener may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvironmentPin {
    /// Live and sandbox credentials.
    Any,
    /// Never a live credential: the guardrail for CI.
    Sandbox,
    /// Never a sandbox credential.
    Live,
}

/// The content encoding the upstream is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AcceptEncoding {
    /// Identity, so that an echoed secret can be seen and redacted.
    Identity,
    /// Whatever the client asked for; a compressed echo passes unseen.
    Pass,
}

/// How long each phase of a request may take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// From the first byte of a request to the end of its headers.
    #[serde(deserialize_with = "duration::positive")]
    pub header: Duration,
    /// Between two requests on a kept-alive connection.
    #[serde(deserialize_with = "duration::positive")]
    pub idle: Duration,
    /// Between two pieces of a request body.
    #[serde(deserialize_with = "duration::positive")]
    pub body_idle: Duration,
    /// How long a client may acknowledge no byte while data waits for it.
    #[serde(deserialize_with = "duration::positive")]
    pub write_idle: Duration,
    /// Resolving, connecting and the TLS handshake.
    #[serde(deserialize_with = "duration::positive")]
    pub connect: Duration,
    /// From when a request may leave to the response's head: connecting and the request's body count too.
    #[serde(deserialize_with = "duration::positive")]
    pub first_byte: Duration,
    /// Between two pieces of a response body.
    #[serde(deserialize_with = "duration::positive")]
    pub stream_idle: Duration,
    /// After SIGTERM, until what is still in flight is cut.
    #[serde(deserialize_with = "duration::any")]
    pub drain: Duration,
}

/// How much the data plane takes on. A workspace's share of what is counted for the process is bounded too: it gets
/// another place only while it holds fewer of them than are free, so newcomers always find one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a head, of a request and of an answer, in either version of HTTP; hyper takes no fewer than 8192.
    #[serde(deserialize_with = "parsed::within::<_, _, 8_192, 16_777_216>")]
    pub header_bytes: usize,
    /// Fields of a head, of a request and of an answer, in either version of HTTP.
    #[serde(deserialize_with = "parsed::within::<_, _, 1, 10_000>")]
    pub headers: usize,
    /// Open client connections, over all listeners.
    #[serde(deserialize_with = "parsed::within::<_, _, 1, 1_000_000>")]
    pub connections: usize,
    /// Concurrent HTTP/2 streams of one client connection.
    #[serde(deserialize_with = "parsed::within::<_, _, 1, 10_000>")]
    pub streams: u32,
    /// Requests in flight, over all listeners.
    #[serde(deserialize_with = "parsed::within::<_, _, 1, 1_000_000>")]
    pub requests: usize,
    /// Open upstream connections, over all providers.
    #[serde(deserialize_with = "parsed::within::<_, _, 1, 1_000_000>")]
    pub upstream_connections: usize,
    /// Open upstream connections to one provider, over all of its hosts.
    #[serde(deserialize_with = "parsed::within::<_, _, 1, 1_000_000>")]
    pub upstream_connections_per_destination: usize,
}
