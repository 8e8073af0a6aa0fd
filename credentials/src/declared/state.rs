//! How one credential stands whose secret is kept elsewhere. Pure, with time passed in.

use std::time::{Duration, Instant};

use crate::{snapshot::Unusable, source::SourceError};

/// What was found where its secret is kept.
#[derive(Debug, Default)]
pub(crate) struct State {
    kept: Kept,
    /// Why it was not read the last time.
    fault: Option<String>,
    /// Since when it cannot be read, while nobody says that it is gone.
    away_since: Option<Instant>,
}

/// The secret that requests get.
#[derive(Debug, Default)]
enum Kept {
    /// Nothing was found yet.
    #[default]
    Unknown,
    /// The one with this version, as the source counts.
    Secret(String),
    /// None, until the source has one again.
    Nothing(Unusable),
}

/// What a reading changes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that anybody sees.
    Nothing,
    /// Its fault, which readiness and the API show.
    Told,
    /// From now on there is no secret to use.
    Withdraw(Unusable),
}

impl State {
    /// The version at hand.
    pub(crate) fn version(&self) -> Option<&str> {
        match &self.kept {
            Kept::Secret(version) => Some(version),
            _ => None,
        }
    }

    pub(crate) fn is_usable(&self) -> bool {
        matches!(self.kept, Kept::Secret(_))
    }

    /// Whether it was neither read nor found to be gone since the start.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self.kept, Kept::Unknown)
    }

    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.clone()
    }

    /// The secret is as it was.
    pub(crate) fn unchanged(&mut self) -> Change {
        self.away_since = None;
        match self.fault.take() {
            Some(_) => Change::Told,
            None => Change::Nothing,
        }
    }

    /// There is another secret.
    pub(crate) fn replaced(&mut self, version: String) {
        *self = Self {
            kept: Kept::Secret(version),
            fault: None,
            away_since: None,
        };
    }

    /// It was not read. A secret outlasts an `outage` of its source, and not the news that it is gone.
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
            SourceError::Away(reason) => {
                let since = *self.away_since.get_or_insert(now);
                let is_over = now.duration_since(since) >= outage;
                (reason, is_over.then_some(Unusable::Away))
            }
        };
        let is_news = self.fault.as_ref() != Some(&reason);
        self.fault = Some(reason);
        match (why, &self.kept) {
            (Some(why), Kept::Nothing(known)) if why == *known => {}
            // It was never read: requests are told so already.
            (Some(Unusable::Away), Kept::Unknown) => {}
            (Some(why), _) => {
                self.kept = Kept::Nothing(why);
                return Change::Withdraw(why);
            }
            (None, _) => {}
        }
        match is_news {
            true => Change::Told,
            false => Change::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTAGE: Duration = Duration::from_secs(60);

    fn away() -> SourceError {
        SourceError::Away("sealed".into())
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
    fn a_secret_outlasts_an_outage_and_then_is_withdrawn() {
        let mut state = held();
        let start = Instant::now();
        assert_eq!(state.not_read(away(), start, OUTAGE), Change::Told);
        let late = start + OUTAGE - Duration::from_secs(1);
        assert_eq!(state.not_read(away(), late, OUTAGE), Change::Nothing);
        assert!(state.is_usable());
        let over = state.not_read(away(), start + OUTAGE, OUTAGE);
        assert_eq!(over, Change::Withdraw(Unusable::Away));
        assert!(!state.is_usable());
        state.replaced("1".into());
        assert!(state.is_usable() && state.fault().is_none());
    }

    #[test]
    fn an_outage_begins_anew_after_a_reading() {
        let mut state = held();
        let start = Instant::now();
        state.not_read(away(), start, OUTAGE);
        assert_eq!(state.unchanged(), Change::Told);
        assert_eq!(state.unchanged(), Change::Nothing);
        state.not_read(away(), start + OUTAGE, OUTAGE);
        assert!(state.is_usable());
    }

    #[test]
    fn what_is_gone_is_withdrawn_at_once() {
        let mut state = held();
        let now = Instant::now();
        let change = state.not_read(gone(), now, OUTAGE);
        assert_eq!(change, Change::Withdraw(Unusable::Gone));
        assert_eq!(state.not_read(gone(), now, OUTAGE), Change::Nothing);
        // An outage afterwards brings nothing back, and hides nothing.
        assert_eq!(state.not_read(away(), now, OUTAGE), Change::Told);
        assert!(!state.is_usable());
    }

    #[test]
    fn what_was_never_read_stays_unknown_in_an_outage() {
        let mut state = State::default();
        let now = Instant::now();
        assert_eq!(state.not_read(away(), now, OUTAGE), Change::Told);
        assert_eq!(
            state.not_read(away(), now + OUTAGE * 2, OUTAGE),
            Change::Nothing
        );
        assert!(state.is_unknown());
        let change = state.not_read(gone(), now, OUTAGE);
        assert_eq!(change, Change::Withdraw(Unusable::Gone));
    }
}
