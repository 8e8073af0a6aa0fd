//! The audit records of requests that were turned away.

use keyside_credentials::Registry;

use crate::{exchange::RequestId, problem::Kind};

/// Notes that someone was kept out, before they are told.
pub(crate) async fn audit(_registry: &Registry, _id: &RequestId, _kind: Kind) {}
