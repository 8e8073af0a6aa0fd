//! How a forwarded request ended.

use crate::model::named;

named! {
    /// How a forwarded request ended: of its run record, the metrics and the log. A refused request has
    /// the refusal's code instead.
    pub enum Outcome {
        /// The whole response was relayed, with a status below 400.
        Ok = "ok",
        /// The whole response was relayed, with a 4xx status other than 429.
        ClientError = "client_error",
        /// The whole response was relayed, with status 429: the provider limits the account, and the
        /// request itself may be right (RFC 6585, section 4).
        RateLimited = "rate_limited",
        /// The whole response was relayed, with a 5xx status.
        ServerError = "server_error",
        /// The upstream did not respond.
        Unanswered = "unanswered",
        /// The upstream aborted its response, or sent nothing for `stream_idle`.
        UpstreamAborted = "upstream_aborted",
        /// Its credential was revoked with `cut`, which also ends requests in flight.
        Revoked = "revoked",
        /// The drain deadline passed while the request was in flight.
        CutByDrain = "cut_by_drain",
        /// The client disconnected.
        ClientClosed = "client_closed",
    }
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
