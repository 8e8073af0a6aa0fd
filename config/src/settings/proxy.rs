//! Settings of `[proxy]`, the data plane.

mod document;

use std::time::Duration;

use http::HeaderName;
use serde::Deserialize;

pub(super) use self::document::ProxyDocument;
use crate::{address::ListenAddress, duration, parsed};

/// The data plane: who may connect, deadlines and limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The listeners; at least one.
    pub listeners: Vec<Listener>,
    /// Worker threads; 0 means one per core.
    pub threads: usize,
    /// Additional names that the `Host` header may contain, in lower case.
    pub hosts: Vec<String>,
    /// Headers that carry the workspace tag; `x-keyside-workspace` always comes first.
    pub tag_headers: Vec<HeaderName>,
    /// Which content encoding to request from the upstream.
    pub accept_encoding: AcceptEncoding,
    /// Deadlines of each phase of a request.
    pub deadlines: Deadlines,
    /// Limits of the data plane.
    pub limits: Limits,
}

impl Proxy {
    /// Number of worker threads.
    pub fn workers(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

/// One listening socket, and what requests through it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address to bind.
    pub address: ListenAddress,
    /// The workspaces that requests may name; empty allows any known one, and a single one is the
    /// default.
    pub workspaces: Vec<String>,
    /// The environment that it is pinned to.
    pub environment: EnvironmentPin,
    /// User ids that may connect to a Unix socket; empty allows every user who may open the file.
    pub peer_uids: Vec<u32>,
}

/// Which credentials a listener may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvironmentPin {
    /// Live and sandbox credentials.
    Any,
    /// Never a live credential: a guardrail for CI.
    Sandbox,
    /// Never a sandbox credential.
    Live,
}

/// The content encoding requested from the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AcceptEncoding {
    /// Identity, so that an echoed secret can be found and redacted.
    Identity,
    /// The encoding that the client requested. An echoed secret in a compressed body is not found.
    Pass,
}

/// Deadlines of each phase of a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// From the first byte of a request to the end of its headers.
    #[serde(deserialize_with = "duration::positive")]
    pub header: Duration,
    /// Between two requests on a kept-alive connection.
    #[serde(deserialize_with = "duration::positive")]
    pub idle: Duration,
    /// Between two chunks of a request body.
    #[serde(deserialize_with = "duration::positive")]
    pub body_idle: Duration,
    /// How long a client may acknowledge no byte while data is waiting for it. Over HTTP/2 also how
    /// long a piece of a response may wait for the stream's window.
    #[serde(deserialize_with = "duration::positive")]
    pub write_idle: Duration,
    /// Resolving, connecting and the TLS handshake together.
    #[serde(deserialize_with = "duration::positive")]
    pub connect: Duration,
    /// From the moment a request may be sent until the response's head. Includes connecting and
    /// sending the request's body.
    #[serde(deserialize_with = "duration::positive")]
    pub first_byte: Duration,
    /// Between two chunks of a response body.
    #[serde(deserialize_with = "duration::positive")]
    pub stream_idle: Duration,
    /// From SIGTERM until requests in flight are cut off.
    #[serde(deserialize_with = "duration::any")]
    pub drain: Duration,
}

/// Limits of the data plane. A workspace's share of the limits that count for the process is
/// bounded too: it gets another slot only while it holds fewer slots than are free, so a new
/// workspace always finds one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes in a head, of requests and responses, in HTTP/1.1 and HTTP/2. hyper allows no less
    /// than 8192.
    #[serde(deserialize_with = "parsed::within::<_, _, 8_192, 16_777_216>")]
    pub header_bytes: usize,
    /// Fields in a head, of requests and responses, in HTTP/1.1 and HTTP/2.
    #[serde(deserialize_with = "parsed::within::<_, _, 1, 10_000>")]
    pub headers: usize,
    /// Open client connections, over all listeners.
    #[serde(deserialize_with = "parsed::within::<_, _, 1, 1_000_000>")]
    pub connections: usize,
    /// Concurrent HTTP/2 streams on one client connection.
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
    /// What a request counts towards limits on tokens if the provider may have charged for it and
    /// reported no usage.
    #[serde(deserialize_with = "parsed::within::<_, _, 0, 1_000_000_000>")]
    pub unknown_tokens: u64,
}
