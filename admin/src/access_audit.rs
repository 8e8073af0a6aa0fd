//! Audits who was refused, and who signed in to the page; and limits how many audit records a token
//! causes without a change.
//!
//! Anyone who reaches the listener can cause refusals, anyone with a token sign-ins and audited
//! reads, and each audit record is a write to disk. Beyond a number in any minute, refusals and
//! sign-ins are only counted and reads are refused, so that nobody can fill the disk; the log still
//! has a line for each. Tokens with one origin share an allowance, because a limited token can create
//! a thousand others, and so do all unauthenticated requests. Nobody else uses it up, so that nobody
//! can hide what another did. Events without a record are counted for each token, so that a record
//! states the number of its own actor. Sign-ins are counted apart from the rest, so that nobody can
//! hide a sign-in behind refusals.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Display,
    iter,
    sync::Arc,
    time::Duration,
};

use keyside_credentials::{ActorContext, ActorId, Registry};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Counts the records of the last minute, by origin and kind.
pub(crate) struct AccessAudit {
    registry: Arc<Registry>,
    windows: Mutex<HashMap<(ActorId, Kind), Window>>,
}

/// What is counted apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// Refusals, and reads that are audited.
    Access,
    Proof,
}

/// What proved who a person is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Token,
    /// The code of a one-time link.
    Link,
}

/// The newest records of one origin and kind.
#[derive(Default)]
struct Window {
    /// When each record of the last [`LENGTH`] was counted, oldest first.
    recorded: VecDeque<Instant>,
    /// Events of each actor without a record of their own, since the actor's last record.
    counted: HashMap<ActorId, u64>,
}

impl AccessAudit {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        let windows = Mutex::default();
        Self { registry, windows }
    }

    /// Writes the record of a refusal before the response is sent. If that fails, the request is
    /// refused all the same.
    pub(crate) async fn refused(&self, by: &ActorContext, what: &str) {
        if let Some(note) = self.note(&by.actor, Kind::Access, what) {
            log_failure(by, self.registry.audit().refused(by, &note).await);
        }
    }

    /// Writes the record of a sign-in before the session opens. If that fails, it opens all the same:
    /// on a full disk a person has to be able to revoke keys, and nothing can be changed without a
    /// record of its own.
    pub(crate) async fn signed_in(&self, by: &ActorContext, proof: Proof) {
        if let Some(note) = self.note(&by.actor, Kind::Proof, proof.in_words()) {
            log_failure(by, self.registry.audit().signed_in(by, &note).await);
        }
    }

    /// The same for a person who proves again who they are.
    pub(crate) async fn reauthenticated(&self, by: &ActorContext, proof: Proof) {
        if let Some(note) = self.note(&by.actor, Kind::Proof, proof.in_words()) {
            log_failure(by, self.registry.audit().reauthenticated(by, &note).await);
        }
    }

    /// Counts a read that is audited with this many records, at most [`MAX_RECORDS`].
    ///
    /// # Errors
    /// The time to wait until the actor's origin may cause as many records.
    pub(crate) fn count_read(&self, actor: &ActorId, records: usize) -> Result<(), Duration> {
        let now = Instant::now();
        self.in_window(actor, Kind::Access, now, |window| {
            window.take(records, max_records(actor), now)
        })
    }

    /// The note of the audit record, or `None` if it is only counted.
    fn note(&self, actor: &ActorId, kind: Kind, what: &str) -> Option<String> {
        let now = Instant::now();
        self.in_window(actor, kind, now, |window| window.note(actor, what, now))
    }

    fn in_window<T>(
        &self,
        actor: &ActorId,
        kind: Kind,
        now: Instant,
        count: impl FnOnce(&mut Window) -> T,
    ) -> T {
        let origin = self.registry.access().origin(actor);
        let mut windows = self.windows.lock();
        windows.retain(|_, window| !window.counted.is_empty() || !window.is_over(now));
        count(windows.entry((origin, kind)).or_default())
    }
}

impl Proof {
    fn in_words(self) -> &'static str {
        match self {
            Self::Token => "with the token",
            Self::Link => "with a link",
        }
    }
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        let last = self.recorded.back();
        last.is_none_or(|last| now.duration_since(*last) >= LENGTH)
    }

    /// Counts `records` at once, or none. Returns the time to wait if they are too many.
    fn take(&mut self, records: usize, max_records: usize, now: Instant) -> Result<(), Duration> {
        let is_old = |at: &Instant| now.duration_since(*at) >= LENGTH;
        while self.recorded.front().is_some_and(is_old) {
            self.recorded.pop_front();
        }
        let excess = (self.recorded.len() + records).saturating_sub(max_records);
        if excess == 0 {
            self.recorded.extend(iter::repeat_n(now, records));
            return Ok(());
        }
        let last_in_the_way = self.recorded.get(excess - 1);
        Err(last_in_the_way.map_or(LENGTH, |at| LENGTH - now.duration_since(*at)))
    }

    fn note(&mut self, actor: &ActorId, what: &str, now: Instant) -> Option<String> {
        if self.take(1, max_records(actor), now).is_err() {
            *self.counted.entry(actor.clone()).or_default() += 1;
            return None;
        }
        Some(match self.counted.remove(actor) {
            None => what.to_owned(),
            Some(more) => format!("{what}; {more} more before this one, counted only"),
        })
    }
}

fn log_failure(by: &ActorContext, recorded: Result<(), impl Display>) {
    if let Err(error) = recorded {
        let request_id = by.request_id.as_str();
        tracing::error!(request_id, %error, "access could not be recorded");
    }
}

/// The number of records in any minute: for all unauthenticated requests together one, with the
/// count of the rest.
fn max_records(actor: &ActorId) -> usize {
    match *actor == ActorId::anonymous() {
        true => 1,
        false => MAX_RECORDS,
    }
}

/// Records of each kind that a token, or all tokens with one origin, may cause in any minute: more than
/// a person's mistakes, and less than a disk notices.
pub(crate) const MAX_RECORDS: usize = 20;

/// A minute, and the time that a counted record may wait until it is written: records that are
/// written within one minute were counted within this time.
const LENGTH: Duration = Duration::from_secs(65);

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for a record every `every` for ten minutes, and returns the most that were granted in
    /// any minute.
    fn most_in_a_minute(every: Duration) -> usize {
        let (began, mut window) = (Instant::now(), Window::default());
        let asked = (0..).map(|n| began + every * n);
        let asked = asked.take_while(|at| *at < began + Duration::from_secs(600));
        let granted = asked.filter(|at| window.take(1, MAX_RECORDS, *at).is_ok());
        let granted: Vec<_> = granted.collect();
        let minute = Duration::from_secs(60);
        let within = |from: &Instant| {
            let within = granted
                .iter()
                .filter(|at| *at >= from && **at < *from + minute);
            within.count()
        };
        granted.iter().map(within).max().unwrap()
    }

    #[test]
    fn no_minute_has_more_than_20_records_wherever_it_begins() {
        for millis in [50, 900, 2_900, 3_100] {
            let most = most_in_a_minute(Duration::from_millis(millis));
            assert!(most <= MAX_RECORDS, "every {millis} ms: {most}");
        }
        assert_eq!(most_in_a_minute(Duration::from_millis(50)), MAX_RECORDS);
    }

    /// 20 at the end of one minute and 20 at the start of the next.
    #[test]
    fn a_burst_at_the_end_of_a_minute_counts_in_the_next() {
        let (began, mut window) = (Instant::now(), Window::default());
        let at = |seconds| began + Duration::from_secs(seconds);
        window.take(1, MAX_RECORDS, at(0)).unwrap();
        window.take(19, MAX_RECORDS, at(59)).unwrap();
        assert_eq!(
            window.take(1, MAX_RECORDS, at(60)),
            Err(LENGTH - Duration::from_secs(60))
        );
        window.take(1, MAX_RECORDS, at(66)).unwrap();
        assert_eq!(
            window.take(20, MAX_RECORDS, at(66)),
            Err(LENGTH),
            "all of them or none"
        );
        assert_eq!(window.recorded.len(), 20);
    }
}
