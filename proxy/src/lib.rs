//! The data plane: accepts a request without a credential on localhost, attaches the workspace's
//! key and streams the provider's response back.
//!
//! Start with [`gateway`]: it runs the steps of one request, one module a step. This crate must
//! not know how credentials are stored or administered; it asks a
//! [`Resolver`](keyside_credentials::Resolver) and gets a grant or a refusal.

mod activity;
mod admission;
mod client_socket;
mod connection;
mod deadline;
mod destination;
mod drain;
mod egress;
mod framing;
mod gateway;
mod head_limits;
mod headers;
mod hop;
mod http2_frames;
mod inject;
mod ledger;
mod listener;
mod meter;
mod metrics;
mod outbound;
mod overrides;
mod preview;
mod probe;
mod query;
mod quota;
mod reachability;
mod reclaim;
mod refusal;
mod rejection;
mod relay;
mod request_body;
mod request_record;
mod route;
mod scrub;
mod search;
mod stream_deadline;
mod suggestion;
mod upgrade;
mod upstream;
mod wakers;
mod websocket;

pub use client_socket::unacknowledged;
pub use drain::{Drain, Phase};
pub use egress::{EffectiveEgress, Egress, EgressError, ProxyVariables};
pub use gateway::Dependencies;
pub use listener::{BindError, Bound, bind};
pub use metrics::{Metrics, outcomes};
pub use outbound::OutboundClient;
pub use reachability::check_reachable;
pub use upstream::{CredentialsError, OutboundError, Reachable, Unreachable};
