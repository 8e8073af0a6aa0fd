//! Tables in plain text.

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use serde_json::Value;

use crate::terminal::printable;

/// Rows under a heading, or names with values without one.
pub(crate) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// A column of a table: its heading, and its cell for an item.
pub(crate) type Column<T> = (&'static str, fn(&T) -> String);

impl Table {
    pub(crate) fn new(heading: impl Into<Vec<&'static str>>) -> Self {
        Self {
            heading: heading.into(),
            rows: Vec::new(),
        }
    }

    /// A row for each field of one thing: its name for people, and its value.
    pub(crate) fn of_fields<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let rows = fields.into_iter();
        Self::new([]).with_rows(rows.map(|(name, value)| [name.to_owned(), value]))
    }

    pub(crate) fn of<T>(items: &[T], columns: &[Column<T>]) -> Self {
        let heading: Vec<_> = columns.iter().map(|(heading, _)| *heading).collect();
        let cells = |item| columns.iter().map(move |(_, cell)| cell(item));
        Self::new(heading).with_rows(items.iter().map(cells))
    }

    /// A row for each JSON object. `columns` are headings, each with the field below it.
    pub(crate) fn of_items<const N: usize>(
        items: &[Value],
        columns: [(&'static str, &str); N],
    ) -> Self {
        let rows = items.iter();
        Self::new(columns.map(|(heading, _)| heading))
            .with_rows(rows.map(|item| columns.map(|(_, field)| field_cell(item, field))))
    }

    pub(crate) fn with_rows(
        mut self,
        rows: impl IntoIterator<Item: IntoIterator<Item = String>>,
    ) -> Self {
        rows.into_iter().for_each(|cells| self.row(cells));
        self
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
            text += &match colour {
                true => format!("\x1b[1m{heading}\x1b[0m\n"),
                false => format!("{heading}\n"),
            };
        }
        for row in &self.rows {
            text.push_str(&line(row.iter().map(String::as_str), &widths));
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let width = |cell: &str| cell.chars().count();
        let mut widths: Vec<_> = self.heading.iter().map(|cell| width(cell)).collect();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = width(cell).max(*widest);
            }
        }
        widths
    }
}

/// A value as its JSON has it, or a dash without one: a count that was not reported is not 0, and a
/// refused request may name no provider.
pub(crate) fn cell(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::Null) | Err(_) => none(),
        Ok(Value::String(text)) if text.is_empty() => none(),
        Ok(Value::String(text)) => text,
        Ok(number) => number.to_string(),
    }
}

/// Shown in place of a value that is absent.
pub(crate) fn none() -> String {
    "-".to_owned()
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
