//! Pages of tables: numbered ones of a table that is in memory, and those of a log.

use std::ops::Range;

use super::number::count;
use crate::query::Parameters;

/// Where a table is, and its neighbours: empty links where there are none.
pub(super) struct Pager {
    /// `1–50 of 1,000 keys`.
    pub(super) summary: String,
    pub(super) previous: String,
    pub(super) next: String,
    range: Range<usize>,
}

impl Pager {
    /// The number of the page in the query, from 1.
    pub(super) fn read(parameters: &mut Parameters) -> usize {
        let number = parameters.filter("page", |text| {
            let number: Option<usize> = text.parse().ok();
            let number = number.filter(|number| (1..=MAX_PAGE).contains(number));
            number.ok_or_else(|| format!("expected a number from 1 to {MAX_PAGE}"))
        });
        number.unwrap_or(1)
    }

    /// Page `number` of `total` rows, each a `noun`. A page beyond the end is the last one. `address`
    /// is that of the page with a number; an empty one is the first.
    pub(super) fn new(
        number: usize,
        total: usize,
        noun: &str,
        address: impl Fn(&str) -> String,
    ) -> Self {
        let last = total.div_ceil(ROWS).max(1);
        let number = number.min(last);
        let start = (number - 1) * ROWS;
        let range = start..total.min(start + ROWS);
        let plural = if total == 1 { "" } else { "s" };
        let [first, end, all] = [range.start + 1, range.end, total].map(|it| count(it as u64));
        let summary = match last {
            1 => format!("{total} {noun}{plural}"),
            _ => format!("{first}–{end} of {all} {noun}s"),
        };
        let page = |is_there: bool, number: usize| match is_there {
            true if number == 1 => address(""),
            true => address(&number.to_string()),
            false => String::new(),
        };
        Self {
            summary,
            previous: page(number > 1, number.saturating_sub(1)),
            next: page(number < last, number + 1),
            range,
        }
    }

    /// Whether there are other pages.
    pub(super) fn is_long(&self) -> bool {
        !self.previous.is_empty() || !self.next.is_empty()
    }

    /// The rows of this page.
    pub(super) fn rows<'a, T>(&self, all: &'a [T]) -> &'a [T] {
        all.get(self.range.clone()).unwrap_or_default()
    }
}

/// Where a page of a log is, which is read by cursors from its newest end.
pub(super) struct LogPager {
    pub(super) summary: String,
    /// Empty on the page with the newest rows.
    pub(super) newest: String,
    /// Empty on the last page.
    pub(super) older: String,
}

impl LogPager {
    /// `cursor` is that of the page, if any, and `next` that of the one with older rows. `address`
    /// is that of the page from a cursor on; an empty one is the newest.
    pub(super) fn new(
        summary: String,
        cursor: Option<&impl ToString>,
        next: Option<&impl ToString>,
        address: impl Fn(&str) -> String,
    ) -> Self {
        Self {
            summary,
            newest: cursor.map_or_else(String::new, |_| address("")),
            older: next.map_or_else(String::new, |next| address(&next.to_string())),
        }
    }
}

/// Rows of a page: few enough to read, and for a phone to draw at once.
const ROWS: usize = 50;

/// Pages of the largest table: 32,768 documents of a chain.
const MAX_PAGE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn pager(number: usize, total: usize) -> Pager {
        Pager::new(number, total, "key", |page| format!("?page={page}"))
    }

    #[test]
    fn a_table_is_shown_page_by_page() {
        let all: Vec<_> = (1..=120).collect();
        for (number, summary, previous, next, first, rows) in [
            (1, "1–50 of 120 keys", "", "?page=2", 1, 50),
            (2, "51–100 of 120 keys", "?page=", "?page=3", 51, 50),
            (3, "101–120 of 120 keys", "?page=2", "", 101, 20),
            (9, "101–120 of 120 keys", "?page=2", "", 101, 20),
        ] {
            let pager = pager(number, all.len());
            assert_eq!(
                (&*pager.summary, &*pager.previous, &*pager.next),
                (summary, previous, next)
            );
            let shown = pager.rows(&all);
            assert_eq!((shown[0], shown.len()), (first, rows), "page {number}");
        }
    }

    #[test]
    fn a_short_table_has_one_page() {
        for (total, summary) in [(0, "0 keys"), (1, "1 key"), (50, "50 keys")] {
            let pager = pager(1, total);
            assert_eq!(pager.summary, summary);
            assert_eq!((&*pager.previous, &*pager.next), ("", ""));
        }
    }
}
