//! The days of the period that is shown, and the charts of their figures.

use std::collections::BTreeMap;

use jiff::{Span, civil::Date, tz::TimeZone};
use keyside_credentials::{
    Timestamp,
    runs::{Figures, RunFigures},
};
use serde::Deserialize;

use crate::pages::{
    chart::{Chart, Day, Words},
    number::{count, microseconds},
    view::Choice,
};

/// How far back the page goes: days in UTC, today included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Period {
    #[serde(rename = "1")]
    Today,
    #[default]
    #[serde(rename = "7")]
    Week,
    #[serde(rename = "30")]
    Month,
}

/// The days of a period, oldest first.
pub(super) struct Days(Vec<Date>);

impl Period {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Today => "1",
            Self::Week => "7",
            Self::Month => "30",
        }
    }

    fn count(self) -> u8 {
        match self {
            Self::Today => 1,
            Self::Week => 7,
            Self::Month => 30,
        }
    }

    pub(super) fn choices(self) -> Vec<Choice> {
        let all = [
            (Self::Today, "Today"),
            (Self::Week, "7 days"),
            (Self::Month, "30 days"),
        ];
        let all = all.map(|(period, label)| (period.as_str().to_owned(), label.to_owned()));
        Choice::of(all, self.as_str())
    }
}

impl Days {
    /// The days of the period that ends now.
    pub(super) fn ending(now: Timestamp, period: Period) -> Self {
        let today = now.to_zoned(TimeZone::UTC).date();
        let count = period.count();
        let first = today.saturating_sub(Span::new().days(count - 1));
        let days = first.series(Span::new().days(1)).take(count.into());
        Self(days.collect())
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// When the first one began.
    pub(super) fn since(&self) -> Option<Timestamp> {
        midnight(*self.0.first()?)
    }

    /// When the last one ends.
    pub(super) fn until(&self) -> Option<Timestamp> {
        midnight(self.0.last()?.tomorrow().ok()?)
    }
}

fn midnight(day: Date) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()
}

/// Requests, latency and tokens a day. `figures` are grouped by day.
pub(super) fn charts(days: &Days, figures: &RunFigures) -> Vec<Chart> {
    let groups = figures.groups.iter();
    let by_day = groups.filter_map(|group| Some((group.group.day?, &group.figures)));
    let by_day: BTreeMap<_, _> = by_day.collect();
    let total = &figures.total;
    let median = total.latency.map(|latency| latency.p50_us);
    let tokens = total.tokens.total();
    vec![
        Chart::stacked(
            &series(days, &by_day, |day| {
                [Some(day.count - day.errors), Some(day.errors)]
            }),
            Words {
                title: "Requests a day",
                total: format!("{}, {} failed", count(total.count), count(total.errors)),
                second: "Grey: failed",
                names: ["Succeeded", "Failed"],
                write: count,
            },
        ),
        Chart::lines(
            &series(days, &by_day, |day| {
                let latency = day.latency;
                [latency.map(|it| it.p50_us), latency.map(|it| it.p95_us)]
            }),
            Words {
                title: "Latency a day",
                total: median.map_or_else(
                    || "no requests".to_owned(),
                    |median| format!("median {}", microseconds(median)),
                ),
                second: "Solid: median. Dashed: 95 of 100 took at most this long.",
                names: ["Median", "95th percentile"],
                write: microseconds,
            },
        ),
        Chart::stacked(
            &series(days, &by_day, |day| [day.tokens.input, day.tokens.output]),
            Words {
                title: "Tokens a day",
                total: tokens.map_or_else(|| "none reported".to_owned(), count),
                second: "Grey: output",
                names: ["Input", "Output"],
                write: count,
            },
        ),
    ]
}

/// Two figures of each day.
fn series(
    days: &Days,
    by_day: &BTreeMap<Date, &Figures>,
    read: fn(&Figures) -> [Option<u64>; 2],
) -> Vec<Day> {
    let day = |date: &Date| Day {
        date: *date,
        figures: by_day.get(date).map_or([None, None], |found| read(found)),
    };
    days.0.iter().map(day).collect()
}

#[cfg(test)]
mod tests {
    use keyside_credentials::runs::{Group, GroupFigures, Percentiles, Tokens};

    use super::*;

    #[test]
    fn a_period_ends_today() {
        let now = "2026-03-02T00:00:01Z".parse().unwrap();
        let days = Days::ending(now, Period::Week);
        assert_eq!(days.count(), 7);
        assert_eq!(
            days.since(),
            Some("2026-02-24T00:00:00Z".parse::<Timestamp>().unwrap())
        );
        let today = Days::ending(now, Period::Today);
        assert_eq!(
            today.since(),
            Some("2026-03-02T00:00:00Z".parse::<Timestamp>().unwrap())
        );
        assert_eq!(
            today.until(),
            Some("2026-03-03T00:00:00Z".parse::<Timestamp>().unwrap())
        );
    }

    #[test]
    fn charts_have_the_figures_of_each_day() {
        let now = "2026-03-02T12:00:00Z".parse().unwrap();
        let days = Days::ending(now, Period::Week);
        let figures = Figures {
            count: 5,
            errors: 2,
            latency: Some(Percentiles {
                p50_us: 1_000,
                p95_us: 2_000,
                p99_us: 3_000,
            }),
            tokens: Tokens {
                input: Some(1_200),
                output: Some(34),
                ..Tokens::default()
            },
            ..Figures::default()
        };
        let group = Group {
            day: Some(jiff::civil::date(2026, 3, 1)),
            ..Group::default()
        };
        let found = RunFigures {
            total: figures.clone(),
            groups: vec![GroupFigures {
                group,
                label: None,
                figures,
            }],
            omitted: 0,
        };
        let [requests, latency, tokens]: [Chart; 3] =
            charts(&days, &found).try_into().ok().unwrap();
        assert_eq!(requests.total, "5, 2 failed");
        assert_eq!(requests.rows[5].cells, ["3", "2"]);
        assert_eq!(requests.rows[6].cells, ["–", "–"]);
        assert_eq!(latency.rows[5].cells, ["1 ms", "2 ms"]);
        assert_eq!(latency.lines.len(), 2);
        assert_eq!(tokens.total, "1,234");
        assert_eq!(tokens.rows[5].cells, ["1,200", "34"]);
    }
}
