//! Times as people read them: relative, with the exact time for machines, on hover and for screen
//! readers.

use jiff::SignedDuration;
use keyside_credentials::Timestamp;

/// A time, or none: then `iso` is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Time {
    /// RFC 3339, UTC, whole seconds.
    pub(super) iso: String,
    /// `26 November 2026, 10:04 UTC`.
    pub(super) exact: String,
    /// `3 days ago`, `in 12 days`. `admin/assets/keyside.js` keeps it up to date with the same words.
    pub(super) relative: String,
}

impl Time {
    pub(super) fn new(at: Option<Timestamp>, now: Timestamp) -> Self {
        let Some(at) = at else {
            return Self::default();
        };
        Self {
            iso: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            exact: at.strftime("%-d %B %Y, %H:%M UTC").to_string(),
            relative: relative(at.as_second() - now.as_second()),
        }
    }
}

/// A day in UTC.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Day {
    /// As a field for dates has it: `2026-11-26`.
    pub(super) value: String,
    /// `26 November 2026`.
    pub(super) words: String,
}

impl Day {
    /// The day so many days after `now`.
    pub(super) fn after(now: Timestamp, days: u16) -> Self {
        let later = now.checked_add(SignedDuration::from_hours(24 * i64::from(days)));
        let later = later.unwrap_or(Timestamp::MAX);
        Self {
            value: later.strftime("%Y-%m-%d").to_string(),
            words: later.strftime("%-d %B %Y").to_string(),
        }
    }
}

/// How far away something is, in words; negative seconds are past.
fn relative(seconds: i64) -> String {
    let words = in_words(seconds.unsigned_abs());
    match (words, seconds < 0) {
        (None, _) => "just now".to_owned(),
        (Some(words), true) => format!("{words} ago"),
        (Some(words), false) => format!("in {words}"),
    }
}

/// A duration in its largest fitting unit, rounded; `None` below 45 seconds.
pub(super) fn in_words(seconds: u64) -> Option<String> {
    if seconds < 45 {
        return None;
    }
    let unit = UNITS.iter().find(|(limit, ..)| seconds < *limit);
    let (_, size, name) = unit.unwrap_or(&YEARS);
    let count = ((seconds + size / 2) / size).max(1);
    let plural = if count == 1 { "" } else { "s" };
    Some(format!("{count} {name}{plural}"))
}

/// Up to how many seconds a unit is used, and how long it is.
const UNITS: [(u64, u64, &str); 4] = [
    (90 * 60, 60, "minute"),
    (36 * 3600, 3600, "hour"),
    (60 * DAY, DAY, "day"),
    (730 * DAY, 2_629_800, "month"),
];

const YEARS: (u64, u64, &str) = (u64::MAX, 31_557_600, "year");

const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_largest_fitting_unit() {
        for (seconds, expected) in [
            (0, "just now"),
            (-44, "just now"),
            (-45, "1 minute ago"),
            (-150, "3 minutes ago"),
            (89 * 60, "in 89 minutes"),
            (90 * 60, "in 2 hours"),
            (-36 * 3600, "2 days ago"),
            (12 * 86_400, "in 12 days"),
            (-60 * 86_400, "2 months ago"),
            (-730 * 86_400, "2 years ago"),
        ] {
            assert_eq!(relative(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn a_day_is_counted_from_today_in_utc() {
        for now in ["2026-11-29T00:00:00Z", "2026-11-29T23:59:59Z"] {
            let day = Day::after(now.parse().unwrap(), 30);
            assert_eq!(
                (&*day.value, &*day.words),
                ("2026-12-29", "29 December 2026")
            );
        }
    }

    #[test]
    fn a_time_has_its_exact_form_for_machines_and_people() {
        let at = "2026-11-26T10:04:59.5Z".parse().unwrap();
        let now = "2026-11-29T10:04:59Z".parse().unwrap();
        let time = Time::new(Some(at), now);
        assert_eq!(
            (&*time.iso, &*time.exact, &*time.relative),
            (
                "2026-11-26T10:04:59Z",
                "26 November 2026, 10:04 UTC",
                "3 days ago"
            )
        );
        assert_eq!(Time::new(None, now).iso, "");
    }
}
