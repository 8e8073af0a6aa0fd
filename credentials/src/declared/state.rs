//! The state of one secret that is kept outside of Keyside. Pure: time is passed in.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::{documents::SourceDocument, snapshot::Unusable, source::SourceError};

/// The result of polling a source so far.
#[derive(Debug, Default)]
pub(crate) struct State {
    secret: SecretState,
    /// Why the last read failed.
    fault: Option<String>,
    /// When the source became unavailable, while it has not said that the secret is gone.
    away_since: Option<Instant>,
}

/// The secret that requests use.
#[derive(Debug, Default)]
enum SecretState {
    /// Not read yet.
    #[default]
    Unknown,
    /// Read, with the source's version.
    Secret(String),
    /// From an earlier process's cache: the source has not answered yet.
    Cached(Cached),
    /// None, until the source has one again.
    Nothing(Unusable),
}

/// How long a secret from the cache may be used, by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromCache {
    /// When Vault last confirmed the secret.
    pub confirmed: Timestamp,
    /// End of its use, unless Vault answers before.
    pub until: Timestamp,
}

/// A secret that is in use from the cache on disk.
#[derive(Debug)]
pub(crate) struct Cached {
    pub(crate) version: String,
    pub(crate) times: FromCache,
    /// End of its use, by the monotonic clock.
    pub(crate) deadline: Instant,
    /// To recognise the same secret when the source answers.
    pub(crate) mac: [u8; 32],
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing visible.
    Nothing,
    /// Only the fault that readiness and the API show.
    StatusOnly,
    /// The secret must not be used any more.
    Withdraw(Unusable),
}

impl State {
    pub(crate) fn version(&self) -> Option<&str> {
        match &self.secret {
            SecretState::Secret(version) | SecretState::Cached(Cached { version, .. }) => {
                Some(version)
            }
            SecretState::Unknown | SecretState::Nothing(_) => None,
        }
    }

    /// The version that this process has read itself. A cached version may be a different secret
    /// with the same number by now.
    pub(crate) fn version_read(&self) -> Option<&str> {
        self.version().filter(|_| self.cached().is_none())
    }

    pub(crate) fn is_usable(&self) -> bool {
        matches!(self.secret, SecretState::Secret(_) | SecretState::Cached(_))
    }

    pub(crate) fn cached(&self) -> Option<&Cached> {
        match &self.secret {
            SecretState::Cached(cached) => Some(cached),
            _ => None,
        }
    }

    /// Whether the secret was neither read nor found to be missing since the start.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self.secret, SecretState::Unknown)
    }

    /// Whether the source said that the secret is missing.
    fn is_gone(&self) -> bool {
        matches!(self.secret, SecretState::Nothing(Unusable::Gone))
    }

    /// The source's answer since the start; `None` if it has not answered, or only the cache has
    /// the secret.
    pub(crate) fn answer(&self) -> Option<SourceDocument> {
        match self.version_read() {
            Some(version) => Some(SourceDocument::Version(version.to_owned())),
            None => self.is_gone().then_some(SourceDocument::Lost),
        }
    }

    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.clone()
    }

    /// The source confirmed the secret.
    pub(crate) fn unchanged(&mut self) -> Change {
        self.away_since = None;
        match self.fault.take() {
            Some(_) => Change::StatusOnly,
            None => Change::Nothing,
        }
    }

    /// The source has a new secret.
    pub(crate) fn replaced(&mut self, version: String) {
        *self = Self {
            secret: SecretState::Secret(version),
            fault: None,
            away_since: None,
        };
    }

    /// The cache has a secret, and the source has not answered yet.
    pub(crate) fn found_in_cache(&mut self, cached: Cached) {
        self.secret = SecretState::Cached(cached);
    }

    /// The source has the secret that was in the cache.
    pub(crate) fn cached_is_right(&mut self, version: String) -> Change {
        self.replaced(version);
        Change::StatusOnly
    }

    /// Ends the use of a cached secret at its deadline, by either clock.
    pub(crate) fn expire(&mut self, now: Instant, clock: Timestamp) -> Change {
        match self.cached() {
            Some(cached) if now >= cached.deadline || clock >= cached.times.until => {}
            _ => return Change::Nothing,
        }
        self.fault
            .get_or_insert_with(|| "it was not read since the start".to_owned());
        self.secret = SecretState::Nothing(Unusable::Unavailable);
        Change::Withdraw(Unusable::Unavailable)
    }

    /// A read failed. The secret stays in use for `outage` if its source is unavailable, but not if
    /// the source says that it is gone.
    pub(crate) fn not_read(
        &mut self,
        error: SourceError,
        now: Instant,
        outage: Duration,
    ) -> Change {
        let (reason, why) = match error {
            SourceError::Gone(reason) => {
                self.away_since = None;
                (reason, Some(Unusable::Gone))
            }
            SourceError::Unavailable(reason) => {
                let since = *self.away_since.get_or_insert(now);
                // A cached secret has its own deadline.
                let is_over = self.cached().is_none() && now.duration_since(since) >= outage;
                (reason, is_over.then_some(Unusable::Unavailable))
            }
        };
        let is_news = self.fault.as_ref() != Some(&reason);
        self.fault = Some(reason);
        match (why, &self.secret) {
            (Some(why), SecretState::Nothing(known)) if why == *known => {}
            // It was never read: requests are already refused for this reason.
            (Some(Unusable::Unavailable), SecretState::Unknown) => {}
            (Some(why), _) => {
                self.secret = SecretState::Nothing(why);
                return Change::Withdraw(why);
            }
            (None, _) => {}
        }
        match is_news {
            true => Change::StatusOnly,
            false => Change::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTAGE: Duration = Duration::from_secs(60);

    fn away() -> SourceError {
        SourceError::Unavailable("sealed".into())
    }

    fn gone() -> SourceError {
        SourceError::Gone("404".into())
    }

    fn held() -> State {
        let mut state = State::default();
        state.replaced("1".into());
        state
    }

    #[test]
    fn a_secret_stays_usable_until_the_outage_limit_and_is_then_refused() {
        let mut state = held();
        let start = Instant::now();
        assert_eq!(state.not_read(away(), start, OUTAGE), Change::StatusOnly);
        let late = start + OUTAGE - Duration::from_secs(1);
        assert_eq!(state.not_read(away(), late, OUTAGE), Change::Nothing);
        assert!(state.is_usable());
        let over = state.not_read(away(), start + OUTAGE, OUTAGE);
        assert_eq!(over, Change::Withdraw(Unusable::Unavailable));
        assert!(!state.is_usable());
        state.replaced("1".into());
        assert!(state.is_usable() && state.fault().is_none());
    }

    #[test]
    fn a_successful_read_resets_the_outage() {
        let mut state = held();
        let start = Instant::now();
        state.not_read(away(), start, OUTAGE);
        assert_eq!(state.unchanged(), Change::StatusOnly);
        assert_eq!(state.unchanged(), Change::Nothing);
        state.not_read(away(), start + OUTAGE, OUTAGE);
        assert!(state.is_usable());
    }

    #[test]
    fn a_deleted_secret_is_refused_at_once() {
        let mut state = held();
        let now = Instant::now();
        let change = state.not_read(gone(), now, OUTAGE);
        assert_eq!(change, Change::Withdraw(Unusable::Gone));
        assert_eq!(state.not_read(gone(), now, OUTAGE), Change::Nothing);
        // A later outage neither restores the secret nor hides the reason.
        assert_eq!(state.not_read(away(), now, OUTAGE), Change::StatusOnly);
        assert!(!state.is_usable());
    }

    fn from_cache(start: Instant, confirmed: i64) -> State {
        let mut state = State::default();
        let confirmed = Timestamp::from_second(confirmed).unwrap();
        state.found_in_cache(Cached {
            version: "1".into(),
            times: FromCache {
                confirmed,
                until: confirmed + OUTAGE,
            },
            deadline: start + OUTAGE,
            mac: [0; 32],
        });
        state
    }

    #[test]
    fn a_cached_secret_expires_by_whichever_clock_is_first() {
        let start = Instant::now();
        let at = |second| Timestamp::from_second(second).unwrap();
        for (waited, clock, change) in [
            (0, 1_000, Change::Nothing),
            (59, 1_059, Change::Nothing),
            // The clock was set back.
            (60, 1_001, Change::Withdraw(Unusable::Unavailable)),
            // The machine slept, or the clock was behind at the start.
            (1, 1_060, Change::Withdraw(Unusable::Unavailable)),
        ] {
            let mut state = from_cache(start, 1_000);
            let now = start + Duration::from_secs(waited);
            assert_eq!(state.not_read(away(), now, OUTAGE), Change::StatusOnly);
            let is_over = change != Change::Nothing;
            assert_eq!(state.expire(now, at(clock)), change);
            assert_eq!(state.is_usable(), !is_over);
            assert!(!state.is_unknown() && state.fault().is_some());
            // It is reported once, and the continuing outage changes nothing.
            assert_eq!(state.expire(now, at(clock)), Change::Nothing);
            assert_eq!(state.not_read(away(), now, OUTAGE), Change::Nothing);
        }
    }

    #[test]
    fn a_cached_secret_is_read_again_and_refused_once_the_source_reports_its_deletion() {
        let start = Instant::now();
        let mut state = from_cache(start, 1_000);
        assert_eq!((state.version(), state.version_read()), (Some("1"), None));
        let change = state.not_read(gone(), start, OUTAGE);
        assert_eq!(change, Change::Withdraw(Unusable::Gone));
        let mut state = from_cache(start, 1_000);
        assert_eq!(state.cached_is_right("1".into()), Change::StatusOnly);
        assert_eq!(state.version_read(), Some("1"));
        let late = Timestamp::from_second(2_000).unwrap();
        assert_eq!(state.expire(start + OUTAGE, late), Change::Nothing);
    }

    #[test]
    fn a_secret_that_was_never_read_stays_unknown_in_an_outage() {
        let mut state = State::default();
        let now = Instant::now();
        assert_eq!(state.not_read(away(), now, OUTAGE), Change::StatusOnly);
        assert_eq!(
            state.not_read(away(), now + OUTAGE * 2, OUTAGE),
            Change::Nothing
        );
        assert!(state.is_unknown());
        let change = state.not_read(gone(), now, OUTAGE);
        assert_eq!(change, Change::Withdraw(Unusable::Gone));
    }
}
