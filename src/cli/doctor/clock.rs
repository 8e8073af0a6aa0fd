//! Checks the clock against the dates of responses and against the audit log.

use std::time::Duration;

use keyside_credentials::{Clock, SystemClock, Timestamp, audit::ClockBehind};

use super::finding::Finding;

/// The times to compare the clock with.
#[derive(Default)]
pub(super) struct ClockEvidence {
    /// From responses.
    samples: Vec<DateSample>,
    /// Whether the audit log is ahead; `None` if it was not read.
    log: Option<Option<ClockBehind>>,
}

/// The date of a response, and our time when it arrived.
struct DateSample {
    from: String,
    theirs: Timestamp,
    ours: Timestamp,
}

/// The findings about other servers, and the dates that they sent.
#[derive(Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) clock: ClockEvidence,
}

impl ClockEvidence {
    /// Adds the `Date` header of a response that just arrived. Ignores an invalid one.
    pub(super) fn add_date(&mut self, from: impl Into<String>, date: Option<&str>) {
        let parsed = date.map(jiff::fmt::rfc2822::parse);
        if let Some(Ok(date)) = parsed {
            self.samples.push(DateSample {
                from: from.into(),
                theirs: date.timestamp(),
                ours: SystemClock.now(),
            });
        }
    }

    pub(super) fn set_log(&mut self, behind: Option<ClockBehind>) {
        self.log = Some(behind);
    }

    pub(super) fn merge(mut self, other: Self) -> Self {
        self.samples.extend(other.samples);
        self.log = self.log.or(other.log);
        self
    }

    /// One matching date is enough: a single server with a wrong clock is not our fault.
    pub(super) fn finding(&self) -> Finding {
        if let Some(Some(behind)) = self.log {
            let ClockBehind { clock, log, .. } = behind;
            return Finding::fail(
                "clock",
                format!("it is at {clock}, and the audit log at {log}: until the clock has caught up, the log's time is used"),
            )
            .fix("Correct the clock. If it is right, stop Keyside and run `keyside clock accept`.");
        }
        let agrees = self
            .samples
            .iter()
            .find(|sample| sample.difference() <= TOLERANCE);
        if let Some(sample) = agrees {
            return Finding::ok("clock", format!("it agrees with {}", sample.from));
        }
        if let Some(sample) = self.samples.first() {
            let (ours, theirs) = (sample.ours, sample.theirs);
            let order = if ours < theirs { "behind" } else { "ahead of" };
            let seconds = sample.difference().as_secs();
            let from = &sample.from;
            return Finding::fail("clock", format!("it is {seconds} s {order} that of {from}"))
                .fix("Set this machine's clock by a time server (chrony, systemd-timesyncd).");
        }
        match self.log {
            Some(_) => Finding::ok(
                "clock",
                "it is not behind the audit log; no response had a date to compare it with",
            ),
            None => Finding::warn("clock", "there was nothing to compare it with")
                .fix("Compare `date -u` with a clock that is right."),
        }
    }
}

impl DateSample {
    fn difference(&self) -> Duration {
        self.ours.duration_since(self.theirs).unsigned_abs()
    }
}

/// The largest difference to accept: a date has whole seconds, and was some time on the way.
const TOLERANCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};

    fn sample(from: &str, theirs: &str, ours: &str) -> DateSample {
        DateSample {
            from: from.to_owned(),
            theirs: theirs.parse().unwrap(),
            ours: ours.parse().unwrap(),
        }
    }

    #[test]
    fn the_date_of_a_response_is_parsed() {
        let mut evidence = ClockEvidence::default();
        evidence.add_date("openai", Some("Sun, 29 Nov 2020 02:55:57 GMT"));
        evidence.add_date("openai", Some("yesterday"));
        evidence.add_date("openai", None);
        let [sample] = &evidence.samples[..] else {
            panic!("one date")
        };
        assert_eq!(sample.theirs.to_string(), "2020-11-29T02:55:57Z");
        assert_eq!(evidence.finding().state, State::Fail);
    }

    #[test]
    fn a_clock_is_wrong_only_if_nobody_agrees_with_it() {
        let wrong = || sample("one", "2026-01-01T00:00:00Z", "2026-01-01T00:02:00Z");
        let right = || sample("two", "2026-01-01T00:00:00Z", "2026-01-01T00:00:07Z");
        let judged = |samples: Vec<DateSample>| ClockEvidence { samples, log: None }.finding();
        let said = judged(vec![wrong()]);
        assert_eq!(said.state, State::Fail);
        assert!(said.to_string().contains("120 s ahead of"), "{said}");
        assert_eq!(judged(vec![wrong(), right()]).state, State::Ok);
        assert_eq!(judged(Vec::new()).state, State::Warn);
    }

    #[test]
    fn an_audit_log_alone_only_shows_that_the_clock_is_not_behind() {
        let mut evidence = ClockEvidence::default();
        evidence.set_log(None);
        let said = evidence.finding();
        assert_eq!(said.state, State::Ok);
        assert!(
            said.to_string().contains("no response had a date"),
            "{said}"
        );
    }
}
