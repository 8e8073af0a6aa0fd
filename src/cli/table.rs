//! Tables in plain text.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use crate::terminal::printable;

/// Rows under a heading, or names with values without one.
pub(crate) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: impl Into<Vec<&'static str>>) -> Self {
        Self {
            heading: heading.into(),
            rows: Vec::new(),
        }
    }

    /// A table of a JSON object's fields, with names for people.
    pub(crate) fn of_fields<'a>(
        object: &Value,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut table = Self::new([]);
        for (name, field) in fields {
            table.row([name.to_owned(), field_cell(object, field)]);
        }
        table
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| printable(&cell));
        self.rows.push(cells.collect());
    }

    pub(crate) fn render(&self, colour: bool) -> String {
        let widths = self.widths();
        let mut text = String::new();
        if !self.heading.is_empty() {
            let heading = line(self.heading.iter().copied(), &widths);
            text.push_str(&if colour {
                format!("\x1b[1m{heading}\x1b[0m\n")
            } else {
                format!("{heading}\n")
            });
        }
        for row in &self.rows {
            text.push_str(&line(row.iter().map(String::as_str), &widths));
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self
            .rows
            .iter()
            .map(Vec::len)
            .chain([self.heading.len()])
            .max()
            .unwrap_or(0);
        let width = |column: usize| {
            let cells = self
                .rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(String::as_str);
            let heading = self.heading.get(column).copied();
            cells
                .chain(heading)
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        (0..columns).map(width).collect()
    }
}

/// A value as text, or a dash without one: a count that was not reported is not 0, and a refused
/// request may name no provider.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        number => number.to_string(),
    }
}

/// A field of a JSON object as text. A field whose name marks it as a time is shown in the system's
/// time zone, as in log lines.
pub(crate) fn field_cell(object: &Value, field: &str) -> String {
    let value = &object[field];
    let is_time = field == "at" || field.ends_with("At");
    let time = value.as_str().filter(|_| is_time);
    match time.and_then(|time| time.parse().ok()) {
        Some(at) => local(at),
        None => cell(value),
    }
}

/// Formats a time in the system's time zone: `TZ`, else `/etc/localtime`, else UTC.
pub(crate) fn local(at: Timestamp) -> String {
    in_zone(at, TimeZone::system())
}

fn in_zone(at: Timestamp, zone: TimeZone) -> String {
    at.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn line<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let padded: Vec<_> = cells
        .zip(widths)
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    padded.join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_is_shown_in_its_zone() {
        let at: Timestamp = "2026-11-22T23:03:07.9Z".parse().unwrap();
        for (hours, expected) in [(0, "2026-11-22 23:03:07"), (2, "2026-11-23 01:03:07")] {
            let zone = TimeZone::fixed(jiff::tz::offset(hours));
            assert_eq!(in_zone(at, zone), expected);
        }
    }

    #[test]
    fn only_a_field_named_as_a_time_is_shown_as_one() {
        let time = "2026-11-22T23:03:07Z";
        let object = json!({ "at": time, "tag": time, "revokedAt": null, "flat": 3 });
        assert_eq!(field_cell(&object, "at"), local(time.parse().unwrap()));
        assert_eq!(field_cell(&object, "tag"), time);
        assert_eq!(field_cell(&object, "revokedAt"), "-");
        assert_eq!(field_cell(&object, "flat"), "3");
    }
}
