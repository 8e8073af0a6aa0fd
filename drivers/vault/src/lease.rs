//! A token and its lease: when to renew it, and when it has ended.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderValue;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::error::VaultError;

/// A token as it is sent. Has no `Debug`; its memory is zeroed when the last request that uses it
/// is dropped.
#[derive(Clone)]
pub(crate) struct Token(HeaderValue);

/// The token that a sign-in returns.
pub(crate) struct IssuedToken {
    pub(crate) token: Token,
    /// Duration of the lease; `None` for a token without an end.
    pub(crate) duration: Option<Duration>,
    pub(crate) renewable: bool,
}

/// The token in use, with its lease.
pub(crate) struct Lease {
    pub(crate) token: Token,
    /// Number of the sign-in. Stays the same when the token is renewed.
    pub(crate) generation: u64,
    pub(crate) renewable: bool,
    /// Duration that the sign-in granted. A renewal that grants far less shows that `max_ttl` is
    /// near.
    pub(crate) granted: Option<Duration>,
    pub(crate) signed_in: Instant,
    term: Option<Term>,
}

#[derive(Clone, Copy)]
struct Term {
    due: Instant,
    end: Instant,
}

impl Token {
    /// # Errors
    /// The text cannot be a header value.
    pub(crate) fn new(text: Zeroizing<String>) -> Result<Self, VaultError> {
        let bytes = Bytes::from_owner(Zeroizing::new(text.as_bytes().to_vec()));
        let header = HeaderValue::from_maybe_shared(bytes);
        let mut header = header.map_err(|_| {
            VaultError::SignIn("the Vault token contains invalid characters".to_owned())
        })?;
        header.set_sensitive(true);
        Ok(Self(header))
    }

    pub(crate) fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl Lease {
    pub(crate) fn new(generation: u64, grant: IssuedToken) -> Self {
        let now = Instant::now();
        Self {
            token: grant.token,
            generation,
            renewable: grant.renewable,
            granted: grant.duration,
            signed_in: now,
            term: grant.duration.map(|duration| Term::new(now, duration)),
        }
    }

    /// The lease after a renewal. `None` if it grants far less than the sign-in did: `max_ttl` is
    /// near, so a new sign-in is needed.
    pub(crate) fn renewed(&self, duration: Option<Duration>) -> Option<Self> {
        let now = Instant::now();
        let near_its_end = match (self.granted, duration) {
            (Some(granted), Some(duration)) => duration < granted / 2,
            _ => false,
        };
        (!near_its_end).then(|| Self {
            token: self.token.clone(),
            generation: self.generation,
            renewable: self.renewable,
            granted: self.granted,
            signed_in: self.signed_in,
            term: duration.map(|duration| Term::new(now, duration)),
        })
    }

    /// When to renew or replace the token; `None` for never.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.term.map(|term| term.due)
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.term.is_some_and(|term| now >= term.due)
    }

    pub(crate) fn has_ended(&self, now: Instant) -> bool {
        self.term.is_some_and(|term| now >= term.end)
    }

    pub(crate) fn remaining(&self) -> Option<Duration> {
        let now = Instant::now();
        self.term
            .map(|term| term.end.saturating_duration_since(now))
    }
}

impl Term {
    /// Due after two thirds of the duration, minus a random part so that many sidecars do not renew
    /// at the same time, but never immediately.
    fn new(now: Instant, duration: Duration) -> Self {
        let share = duration * 2 / 3;
        let due = share - share.mul_f64(0.1 * random_fraction());
        Self {
            due: now + due.max(MIN_RENEWAL_DELAY.min(duration)),
            end: now + duration,
        }
    }
}

/// A random number from 0 to 1, for spreading load only.
pub(crate) fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    // If there is no randomness, the load is not spread. Nothing else depends on it.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}

/// Prevents a busy loop of renewals if a lease is very short.
const MIN_RENEWAL_DELAY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(duration: Option<u64>) -> Lease {
        let grant = IssuedToken {
            token: Token::new(Zeroizing::new("hvs.t".to_owned())).ok().unwrap(),
            duration: duration.map(Duration::from_secs),
            renewable: true,
        };
        Lease::new(1, grant)
    }

    #[test]
    fn it_is_due_before_two_thirds_have_passed_and_ends_later() {
        let lease = lease(Some(90));
        let due = lease.due().unwrap() - lease.signed_in;
        assert!(
            due <= Duration::from_secs(60) && due >= Duration::from_secs(54),
            "{due:?}"
        );
        assert!(lease.is_due(lease.signed_in + Duration::from_secs(60)));
        assert!(!lease.has_ended(lease.signed_in + Duration::from_secs(89)));
        assert!(lease.has_ended(lease.signed_in + Duration::from_secs(90)));
    }

    #[test]
    fn a_root_token_never_ends() {
        let lease = lease(None);
        assert!(!lease.is_due(lease.signed_in + Duration::from_secs(1 << 30)));
    }

    #[test]
    fn a_renewal_for_far_less_than_before_is_the_end_of_renewals() {
        let lease = lease(Some(90));
        let renewed = |seconds| lease.renewed(Some(Duration::from_secs(seconds)));
        assert!(renewed(90).is_some_and(|renewed| renewed.generation == 1));
        assert!(renewed(44).is_none());
    }

    #[test]
    fn a_token_with_a_line_break_is_refused_and_not_shown() {
        let Err(error) = Token::new(Zeroizing::new("hvs.canary\nx".to_owned())) else {
            panic!("refused")
        };
        assert!(!error.to_string().contains("canary"), "{error}");
        let token = lease(None).token;
        assert_eq!(format!("{:?}", token.header()), "Sensitive");
    }
}
