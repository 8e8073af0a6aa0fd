//! How a forwarded request ended.

use crate::model::named;

/// How a forwarded request ended: of its run record, the metrics and the log. A refused request has
/// the refusal's code instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole response was relayed, with a status below 400.
    Ok,
    /// The whole response was relayed, with a 4xx status other than 429.
    ClientError,
    /// The whole response was relayed, with status 429: the provider limits the account, and the
    /// request itself may be right (RFC 6585, section 4).
    RateLimited,
    /// The whole response was relayed, with a 5xx status.
    ServerError,
    /// The upstream did not respond.
    Unanswered,
    /// The upstream aborted its response, or sent nothing for `stream_idle`.
    UpstreamAborted,
    /// Its credential was revoked with `cut`, which also ends requests in flight.
    Revoked,
    /// The drain deadline passed while the request was in flight.
    CutByDrain,
    /// The client disconnected.
    ClientClosed,
}

impl Outcome {
    /// The outcome of a request whose whole response, with this status, was relayed.
    pub fn of_status(status: u16) -> Self {
        match status {
            500.. => Self::ServerError,
            429 => Self::RateLimited,
            400.. => Self::ClientError,
            _ => Self::Ok,
        }
    }
}

named! {
    Outcome:
    Ok = "ok",
    ClientError = "client_error",
    RateLimited = "rate_limited",
    ServerError = "server_error",
    Unanswered = "unanswered",
    UpstreamAborted = "upstream_aborted",
    Revoked = "revoked",
    CutByDrain = "cut_by_drain",
    ClientClosed = "client_closed",
}
