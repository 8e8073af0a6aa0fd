//! Cron expressions of five fields, in UTC.
//!
//! crontab(5): minute, hour, day of the month, month, day of the week; each `*`, a number, a range
//! `a-b`, a list `a,b`, or one of these with a step `/n`. Names of months and days are not read. If
//! both day fields are restricted, a day has to match only one of them.

use std::{fmt, str::FromStr};

/// When something runs, to the minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day that matches one of the two day fields is enough.
    either_day: bool,
}

impl Cron {
    /// The first time after `second` (seconds since the Unix epoch). `None` if there is none within
    /// the next nine years.
    pub fn next_after(&self, second: i64) -> Option<i64> {
        let from = second.div_euclid(MINUTE) + 1;
        let first = from.div_euclid(DAY_MINUTES);
        (first..first + YEARS * 366)
            .filter(|day| self.runs_on(*day))
            .find_map(|day| {
                let earliest = (from - day * DAY_MINUTES).max(0);
                let minute = (earliest..DAY_MINUTES).find(|minute| self.runs_at(*minute))?;
                Some((day * DAY_MINUTES + minute) * MINUTE)
            })
    }

    /// The last time at or before `second` (seconds since the Unix epoch). `None` if there is none
    /// within the nine years before.
    pub fn last_until(&self, second: i64) -> Option<i64> {
        let until = second.div_euclid(MINUTE);
        let last = until.div_euclid(DAY_MINUTES);
        (0..YEARS * 366)
            .map(|back| last - back)
            .filter(|day| self.runs_on(*day))
            .find_map(|day| {
                let latest = (until - day * DAY_MINUTES).min(DAY_MINUTES - 1);
                let minute = (0..=latest).rev().find(|minute| self.runs_at(*minute))?;
                Some((day * DAY_MINUTES + minute) * MINUTE)
            })
    }

    /// `day` counts from the Unix epoch.
    fn runs_on(&self, day: i64) -> bool {
        let (month, day_of_month) = month_and_day(day);
        // 1970-01-01 was a Thursday.
        let weekday = (day + 4).rem_euclid(7);
        let by_date = has(self.days, day_of_month);
        let by_weekday = has(self.weekdays, weekday);
        let fits = match self.either_day {
            true => by_date || by_weekday,
            false => by_date && by_weekday,
        };
        fits && has(self.months, month)
    }

    /// `minute` counts from midnight.
    fn runs_at(&self, minute: i64) -> bool {
        has(self.hours, minute / 60) && has(self.minutes, minute % 60)
    }
}

impl fmt::Display for Cron {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let fields: Vec<_> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(CronError::Fields);
        };
        let read = |field, text, first, last| {
            set(text, first, last).ok_or(CronError::Field { field, first, last })
        };
        let sevens = read("day of the week", weekdays, 0, 7)?;
        let cron = Self {
            text: fields.join(" "),
            minutes: read("minute", minutes, 0, 59)?,
            hours: read("hour", hours, 0, 23)?,
            days: read("day of the month", days, 1, 31)?,
            months: read("month", months, 1, 12)?,
            // 7 is Sunday too.
            weekdays: sevens | ((sevens >> 7) & 1),
            either_day: !days.starts_with('*') && !weekdays.starts_with('*'),
        };
        match cron.next_after(0) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never),
        }
    }
}

/// Why a text is not a cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five fields.
    #[error(
        "expected five fields in UTC, such as \"17 3 * * *\": minute, hour, day of the month, month, day of the week"
    )]
    Fields,
    /// A field is not a list of numbers and ranges.
    #[error(
        "{field}: expected *, numbers from {first} to {last}, ranges a-b, or a list of them, each with a step /n if needed"
    )]
    Field {
        /// The field.
        field: &'static str,
        /// The lowest number.
        first: u32,
        /// The highest number.
        last: u32,
    },
    /// No day matches, such as 30 February.
    #[error("expected a day that exists")]
    Never,
}

/// The numbers of a field, as bits.
fn set(text: &str, first: u32, last: u32) -> Option<u64> {
    text.split(',').try_fold(0, |all, item| {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, number(step).filter(|step| *step > 0)?),
            None => (item, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (first, last),
            Some((from, to)) => (number(from)?, number(to)?),
            // As in Vixie cron, `5/10` is 5 and every tenth after it.
            None if range.len() < item.len() => (number(range)?, last),
            None => (number(range)?, number(range)?),
        };
        let is_within = first <= from && from <= to && to <= last;
        let bits = (from..=to).step_by(step as usize);
        is_within.then(|| bits.fold(all, |all: u64, bit| all | (1 << bit)))
    })
}

fn number(text: &str) -> Option<u32> {
    let is_short = (1..=4).contains(&text.len());
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    (is_short && is_plain).then(|| text.parse().ok())?
}

fn has(set: u64, number: i64) -> bool {
    (set >> number) & 1 == 1
}

/// Month (1 to 12) and day (1 to 31) of a day since the Unix epoch, in the Gregorian calendar:
/// `civil_from_days` of <https://howardhinnant.github.io/date_algorithms.html>.
fn month_and_day(day: i64) -> (i64, i64) {
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (month, day)
}

/// Between 29 February of 2096 and of 2104 are eight years.
const YEARS: i64 = 9;
const MINUTE: i64 = 60;
const DAY_MINUTES: i64 = 24 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-29T00:00:00Z, a Sunday.
    const SUNDAY: i64 = 1_795_910_400;
    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;

    fn next(text: &str, after: i64) -> i64 {
        let cron: Cron = text.parse().unwrap();
        cron.next_after(after).unwrap() - SUNDAY
    }

    #[test]
    fn the_next_time_is_the_first_that_matches_and_not_now() {
        for (text, expected) in [
            ("17 3 * * *", 3 * HOUR + 17 * 60),
            ("* * * * *", 60),
            ("0 0 * * *", DAY),
            ("*/15 * * * *", 15 * 60),
            ("5/20 * * * *", 5 * 60),
            ("0 9-17/4 * * *", 9 * HOUR),
            ("30 1,2 * * *", HOUR + 30 * 60),
            ("0 0 * * 1", DAY),
            ("0 0 * * 7", 7 * DAY),
            ("0 0 * * 0", 7 * DAY),
            ("0 0 1 * *", 2 * DAY),
            // Either of both days, if both are restricted.
            ("0 0 1 * 1", DAY),
            ("0 0 1 12 *", 2 * DAY),
            ("0 0 31 * *", 32 * DAY),
        ] {
            assert_eq!(next(text, SUNDAY), expected, "{text}");
        }
        let leap: Cron = "0 0 29 2 *".parse().unwrap();
        // 2028-02-29, and across 2100, which is no leap year: 2104-02-29.
        assert_eq!(leap.next_after(SUNDAY), Some(1_835_395_200));
        assert_eq!(leap.next_after(4_000_000_000), Some(4_233_686_400));
    }

    #[test]
    fn the_last_time_is_now_or_before() {
        let nightly: Cron = "17 3 * * *".parse().unwrap();
        let at = SUNDAY + 3 * HOUR + 17 * 60;
        assert_eq!(nightly.last_until(at), Some(at));
        assert_eq!(nightly.last_until(at + 59), Some(at));
        assert_eq!(nightly.last_until(at - 1), Some(at - DAY));
        for second in [at - 1, at, at + 1] {
            let last = nightly.last_until(second).unwrap();
            assert!(last <= second && nightly.next_after(last).unwrap() > second);
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_field_that_is_wrong() {
        for (text, said) in [
            ("", "five fields"),
            ("17 3 * *", "five fields"),
            ("17 3 * * * *", "five fields"),
            ("60 3 * * *", "minute"),
            ("-1 3 * * *", "minute"),
            ("1- 3 * * *", "minute"),
            ("*/0 3 * * *", "minute"),
            ("5-1 3 * * *", "minute"),
            ("1,, 3 * * *", "minute"),
            ("0 24 * * *", "hour"),
            ("0 0 0 * *", "day of the month"),
            ("0 0 * 13 *", "month"),
            ("0 0 * JAN *", "month"),
            ("0 0 * * 8", "day of the week"),
            ("0 0 30 2 *", "a day that exists"),
        ] {
            let error = text.parse::<Cron>().unwrap_err().to_string();
            assert!(error.contains(said), "{text:?}: {error}");
        }
    }

    #[test]
    fn an_expression_is_shown_as_it_was_written() {
        let cron: Cron = " 17  3 * * 1-5 ".parse().unwrap();
        assert_eq!(cron.to_string(), "17 3 * * 1-5");
    }
}
