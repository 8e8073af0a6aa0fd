//! Whether the clock is right, by what others answered and by the audit log.

use std::time::Duration;

use keyside_credentials::{Clock, SystemClock, Timestamp, audit::ClockBehind};

use super::finding::Finding;

/// What the clock can be held against.
#[derive(Default)]
pub(super) struct ClockEvidence {
    /// Of answers.
    heard: Vec<DateSample>,
    /// Whether the audit log is ahead; `None` where it was not read.
    log: Option<Option<ClockBehind>>,
}

/// The time of a response, and ours when it arrived.
struct DateSample {
    from: String,
    theirs: Timestamp,
    ours: Timestamp,
}

impl ClockEvidence {
    /// Notes the `Date` of an answer that has just come. One that is no date says nothing.
    pub(super) fn add_date(&mut self, from: impl Into<String>, date: Option<&str>) {
        let parsed = date.map(jiff::fmt::rfc2822::parse);
        if let Some(Ok(date)) = parsed {
            self.heard.push(DateSample {
                from: from.into(),
                theirs: date.timestamp(),
                ours: SystemClock.now(),
            });
        }
    }

    pub(super) fn read_log(&mut self, behind: Option<ClockBehind>) {
        self.log = Some(behind);
    }

    pub(super) fn join(&mut self, other: Self) {
        self.heard.extend(other.heard);
        self.log = self.log.or(other.log);
    }

    /// One answer that agrees is enough: a single server with a wrong clock is not ours to mend.
    pub(super) fn finding(&self) -> Finding {
        if let Some(Some(behind)) = self.log {
            let ClockBehind { clock, log, .. } = behind;
            return Finding::fail(
                "clock",
                format!("it is at {clock}, and the audit log at {log}: until it has caught up, the log's time counts"),
            )
            .fix("Correct the clock. If it is right, stop Keyside and run `keyside clock accept`.");
        }
        let agrees = self
            .heard
            .iter()
            .find(|heard| heard.difference() <= LARGEST);
        if let Some(heard) = agrees {
            return Finding::ok("clock", format!("it agrees with {}", heard.from));
        }
        if let Some(heard) = self.heard.first() {
            let (ours, theirs) = (heard.ours, heard.theirs);
            let order = if ours < theirs { "behind" } else { "ahead of" };
            let seconds = heard.difference().as_secs();
            let from = &heard.from;
            return Finding::fail("clock", format!("it is {seconds} s {order} that of {from}"))
                .fix("Set this machine's clock by a time server (chrony, systemd-timesyncd).");
        }
        match self.log {
            Some(_) => Finding::ok(
                "clock",
                "it is not behind the audit log; no answer had a date to compare it with",
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

/// A date has whole seconds, and was some time on the way.
const LARGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    fn heard(from: &str, theirs: &str, ours: &str) -> DateSample {
        DateSample {
            from: from.to_owned(),
            theirs: theirs.parse().unwrap(),
            ours: ours.parse().unwrap(),
        }
    }

    #[test]
    fn the_date_of_an_answer_is_understood() {
        let mut evidence = ClockEvidence::default();
        evidence.add_date("openai", Some("Sun, 29 Nov 2020 02:55:57 GMT"));
        evidence.add_date("openai", Some("yesterday"));
        evidence.add_date("openai", None);
        let [heard] = &evidence.heard[..] else {
            panic!("one date")
        };
        assert_eq!(heard.theirs.to_string(), "2020-11-29T02:55:57Z");
        assert_eq!(evidence.finding().state, State::Fail);
    }

    #[test]
    fn a_clock_is_wrong_only_if_nobody_agrees_with_it() {
        let wrong = || heard("one", "2026-01-01T00:00:00Z", "2026-01-01T00:02:00Z");
        let right = || heard("two", "2026-01-01T00:00:00Z", "2026-01-01T00:00:07Z");
        let judged = |heard: Vec<DateSample>| ClockEvidence { heard, log: None }.finding();
        let said = judged(vec![wrong()]);
        assert_eq!(said.state, State::Fail);
        assert!(said.to_string().contains("120 s ahead of"), "{said}");
        assert_eq!(judged(vec![wrong(), right()]).state, State::Ok);
        assert_eq!(judged(Vec::new()).state, State::Warn);
    }

    #[test]
    fn a_log_that_was_read_says_that_the_clock_is_not_behind_and_no_more() {
        let mut evidence = ClockEvidence::default();
        evidence.read_log(None);
        let said = evidence.finding();
        assert_eq!(said.state, State::Ok);
        assert!(said.to_string().contains("no answer had a date"), "{said}");
    }
}
