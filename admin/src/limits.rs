//! How often the API may be asked, and how often someone may try to sign in.
//!
//! Tokens are 256 random bits, so the second budget is not what keeps them safe: it keeps guesses from filling the log. A
//! right token is never counted, or whoever shares an address with its owner could keep them out.
//!
//! The budgets are counted by address; a network of IPv6 (/64) is one, because whoever has an address there has them all.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    middleware::Next,
    response::Response,
};
use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter,
    clock::{Clock, MonotonicClock, Reference},
};
use http::{Extensions, HeaderValue, header, request::Parts};

use crate::{
    AdminState,
    problem::{Kind, Problem},
};

/// The budgets.
pub(crate) struct Limits {
    requests: DefaultKeyedRateLimiter<IpAddr>,
    guesses: DefaultKeyedRateLimiter<IpAddr>,
    all_guesses: DefaultDirectRateLimiter,
}

impl Limits {
    pub(crate) fn new(requests_per_second: NonZeroU32) -> Self {
        let burst = requests_per_second.saturating_mul(TWO);
        let requests = Quota::per_second(requests_per_second).allow_burst(burst);
        Self {
            requests: RateLimiter::keyed(requests),
            guesses: RateLimiter::keyed(Quota::per_minute(GUESSES)),
            all_guesses: RateLimiter::direct(Quota::per_minute(ALL_GUESSES)),
        }
    }

    /// Takes one request from the peer's budget.
    fn request(&self, Peer(peer): Peer) -> Result<(), Problem> {
        take(&self.requests, peer)
            .map_err(|wait| too_many("More requests than one address may send.", wait))
    }

    /// Takes one wrong token from the peer's budget, and from everyone's.
    pub(crate) fn guess(&self, Peer(peer): Peer) -> Result<(), Problem> {
        let too_many = |wait| too_many("More wrong tokens than may be tried.", wait);
        take(&self.guesses, peer).map_err(too_many)?;
        self.all_guesses
            .check()
            .map_err(|until| too_many(wait(&until)))
    }
}

/// Runs once a request, before anything of it is looked at.
pub(crate) async fn check(
    State(state): State<AdminState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    state.limits.request(Peer::of(request.extensions()))?;
    Ok(next.run(request).await)
}

/// Where a request comes from. Where the server did not say, all come from the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(IpAddr);

impl Peer {
    fn of(extensions: &Extensions) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| {
            peer.ip()
        });
        Self(match peer.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
            peer => peer,
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// Addresses whose budget is whole again are forgotten, so that nobody fills the memory by coming from everywhere.
fn take(limiter: &DefaultKeyedRateLimiter<IpAddr>, peer: IpAddr) -> Result<(), Duration> {
    if limiter.len() > KNOWN_PEERS {
        limiter.retain_recent();
    }
    limiter.check_key(&peer).map_err(|until| wait(&until))
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

/// A minute, from one address: more than a person mistypes.
const GUESSES: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// A minute, from anywhere.
const ALL_GUESSES: NonZeroU32 = NonZeroU32::new(60).unwrap();

const KNOWN_PEERS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Peer {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(text.parse().unwrap(), 40_000)));
        Peer::of(&extensions)
    }

    #[test]
    fn an_address_that_spent_its_budget_waits_and_no_other_one_does() {
        let limits = Limits::new(NonZeroU32::MIN);
        for _ in 0..2 {
            limits.request(ip("192.0.2.1")).unwrap();
        }
        let refused = limits.request(ip("192.0.2.1")).unwrap_err();
        assert_eq!(refused.kind(), Kind::TooManyRequests);
        limits.request(ip("192.0.2.2")).unwrap();
    }

    #[test]
    fn guesses_from_everywhere_are_counted_together_too() {
        let limits = Limits::new(NonZeroU32::MIN);
        let guesses = (0..100).map(|n| limits.guess(ip(&format!("192.0.2.{n}"))));
        let let_through = guesses.filter(Result::is_ok).count();
        // One more may come free while they are counted.
        assert!((60..=62).contains(&let_through), "{let_through}");
    }

    #[test]
    fn one_network_of_ipv6_is_one_and_a_mapped_address_is_the_one_it_maps() {
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
    }
}
