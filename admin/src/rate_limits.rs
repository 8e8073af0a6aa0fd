//! Rate limits for requests, for invalid tokens, and for reads that are audited.
//!
//! Tokens are 256 random bits, so the limit on invalid tokens does not protect them from guessing:
//! it keeps guesses from flooding the log. Valid tokens never count against it; otherwise a guesser
//! at the owner's address could lock the owner out.
//!
//! Requests with a valid token count against that token, and only the others against their address.
//! So nobody at the owner's address, and no page in the owner's browser, can use up the owner's
//! limit. An IPv6 /64 network counts as one address, because its holder has all of it.

use std::{
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter,
    clock::{Clock, MonotonicClock, Reference},
};
use http::{Extensions, HeaderValue, header};
use keyside_credentials::ActorId;
use parking_lot::Mutex;

use crate::{
    access::{self, Caller},
    access_audit::{AccessAudit, MAX_RECORDS},
    client_address::ClientAddress,
    problem::{FieldError, Kind, Problem},
};

/// The rate limiters.
pub(crate) struct RateLimits {
    requests: KeyedLimiter<RateLimitKey>,
    invalid_tokens: KeyedLimiter<ClientNetwork>,
    all_invalid_tokens: DefaultDirectRateLimiter,
}

impl RateLimits {
    pub(crate) fn new(requests_per_second: NonZeroU32) -> Self {
        let burst = requests_per_second.saturating_mul(TWO);
        let requests = Quota::per_second(requests_per_second).allow_burst(burst);
        Self {
            requests: KeyedLimiter::new(requests),
            invalid_tokens: KeyedLimiter::new(Quota::per_minute(INVALID_TOKENS_PER_ADDRESS)),
            all_invalid_tokens: RateLimiter::direct(Quota::per_minute(INVALID_TOKENS_IN_TOTAL)),
        }
    }

    /// Counts a request.
    pub(crate) fn check_request(&self, key: RateLimitKey) -> Result<(), Problem> {
        let detail = match key {
            RateLimitKey::Token(_) => "The token exceeded its rate limit.",
            RateLimitKey::Address(_) => {
                "The address exceeded the rate limit for requests without a valid token."
            }
        };
        let taken = self.requests.take(key);
        taken.map_err(|wait| too_many(detail, wait))
    }

    /// Counts an invalid token, for the client and in total.
    pub(crate) fn check_invalid_token(&self, client: ClientNetwork) -> Result<(), Problem> {
        let too_many = |wait| too_many("Too many invalid tokens.", wait);
        self.invalid_tokens.take(client).map_err(too_many)?;
        self.all_invalid_tokens
            .check()
            .map_err(|until| too_many(wait(&until)))
    }
}

/// Runs once per request, after authentication and before the body is read.
pub(crate) async fn check(
    State(limits): State<Arc<RateLimits>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let extensions = request.extensions();
    limits.check_request(RateLimitKey::of(extensions))?;
    if access::has_invalid_token(extensions) {
        limits.check_invalid_token(ClientNetwork::of(extensions))?;
    }
    Ok(next.run(request).await)
}

/// Counts a read that is audited with this many records, so that reads cannot fill the audit log.
///
/// # Errors
/// 429, or 422 if one request would write more records than a minute may have.
pub(crate) fn check_audited_read(
    audit: &AccessAudit,
    caller: &Caller,
    records: usize,
) -> Result<(), Problem> {
    if records > MAX_RECORDS {
        let detail = format!(
            "is required with a token for more than {MAX_RECORDS} workspaces, because each of them gets an audit record"
        );
        let missing = FieldError::parameter("workspaceId", detail);
        return Err(Problem::fields(vec![missing]));
    }
    // None for a token all of whose workspaces are erased.
    let counted = audit.count_read(&caller.principal().actor, records.max(1));
    let detail = "This token, or tokens that come from the same one, caused too many audit records within a minute, with exports, backups or refused requests.";
    counted.map_err(|wait| too_many(detail, wait))
}

/// What a request counts against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RateLimitKey {
    /// The token, if it is valid.
    Token(ActorId),
    /// The address of the client, otherwise.
    Address(ClientNetwork),
}

impl RateLimitKey {
    fn of(extensions: &Extensions) -> Self {
        match Caller::authenticated(extensions) {
            Ok(caller) => Self::Token(caller.principal().actor.clone()),
            Err(_) => Self::Address(ClientNetwork::of(extensions)),
        }
    }
}

/// The network of a client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientNetwork(IpAddr);

impl ClientNetwork {
    pub(crate) fn of(extensions: &Extensions) -> Self {
        Self(match ClientAddress::of(extensions).ip() {
            IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
            ip => ip,
        })
    }
}

/// A rate limiter with one budget per key.
struct KeyedLimiter<K: Clone + Hash + Eq> {
    each: DefaultKeyedRateLimiter<K>,
    swept: Mutex<Option<Instant>>,
}

impl<K: Clone + Hash + Eq> KeyedLimiter<K> {
    fn new(quota: Quota) -> Self {
        Self {
            each: RateLimiter::keyed(quota),
            swept: Mutex::default(),
        }
    }

    /// Counts one, or returns the time to wait.
    fn take(&self, key: K) -> Result<(), Duration> {
        if self.each.len() > SWEEP_ABOVE && self.sweep_is_due(Instant::now()) {
            self.each.retain_recent();
        }
        self.each.check_key(&key).map_err(|until| wait(&until))
    }

    /// Whether to drop keys whose budget is full again, so that requests from many addresses do not
    /// fill memory. A sweep visits every key, so it runs at most once per [`SWEEP_EVERY`].
    fn sweep_is_due(&self, now: Instant) -> bool {
        let mut swept = self.swept.lock();
        let is_due = swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_EVERY);
        if is_due {
            *swept = Some(now);
        }
        is_due
    }
}

fn wait<P: Reference>(until: &NotUntil<P>) -> Duration
where
    MonotonicClock: Clock<Instant = P>,
{
    until.wait_time_from(MonotonicClock.now())
}

fn too_many(detail: &str, wait: Duration) -> Problem {
    let seconds = wait.as_secs() + 1;
    let problem = Problem::new(
        Kind::TooManyRequests,
        detail,
        "Wait as long as Retry-After says, then send the request again.",
    );
    problem.with_value(header::RETRY_AFTER, HeaderValue::from(seconds))
}

const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// Per minute and address: more than a person mistypes.
const INVALID_TOKENS_PER_ADDRESS: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Per minute, over all addresses.
const INVALID_TOKENS_IN_TOTAL: NonZeroU32 = NonZeroU32::new(60).unwrap();

/// Keys; fewer do not need sweeping.
const SWEEP_ABOVE: usize = 10_000;

const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> ClientNetwork {
        let mut extensions = Extensions::new();
        extensions.insert(ClientAddress::from(text.parse::<IpAddr>().unwrap()));
        ClientNetwork::of(&extensions)
    }

    #[test]
    fn an_address_at_its_rate_limit_does_not_block_other_addresses() {
        let limits = RateLimits::new(NonZeroU32::MIN);
        let request = |address| limits.check_request(RateLimitKey::Address(ip(address)));
        for _ in 0..2 {
            request("192.0.2.1").unwrap();
        }
        let refused = request("192.0.2.1").unwrap_err();
        assert_eq!(refused.kind(), Kind::TooManyRequests);
        request("192.0.2.2").unwrap();
    }

    #[test]
    fn invalid_tokens_from_all_addresses_are_counted_together() {
        let limits = RateLimits::new(NonZeroU32::MIN);
        let guesses = (0..100).map(|n| limits.check_invalid_token(ip(&format!("192.0.2.{n}"))));
        let let_through = guesses.filter(Result::is_ok).count();
        // One more becomes available while they are counted.
        assert!((60..=62).contains(&let_through), "{let_through}");
    }

    #[test]
    fn keys_are_swept_at_most_once_a_second() {
        let budgets =
            KeyedLimiter::<ClientNetwork>::new(Quota::per_minute(INVALID_TOKENS_PER_ADDRESS));
        let began = Instant::now();
        let after = |millis| budgets.sweep_is_due(began + Duration::from_millis(millis));
        let times = [0, 0, 999, 1_000, 1_001, 1_999, 2_000];
        let swept = times.map(after);
        assert_eq!(swept, [true, false, false, true, false, false, true]);
    }

    #[test]
    fn one_network_of_ipv6_is_one_and_a_mapped_address_is_the_one_it_maps() {
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
    }
}
