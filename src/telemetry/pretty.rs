//! Short lines for a person at a terminal: local time, level, message, fields.
//!
//! `12:03:07 WARN  client turned away limit=1024`. The head of the audit log, a hash that only a program can compare, is left
//! to the JSON lines. Durations have a unit that fits them, and the ids of a request that went well are cut to what tells
//! them apart: whoever follows one up finds it whole in `keyside run list` or in the JSON lines.

use crate::terminal::printable;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::borrow::Cow;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats events. Spans are left out: Keyside has none.
pub(super) struct Pretty {
    zone: TimeZone,
}

impl Pretty {
    /// In the time of this system: `TZ`, else `/etc/localtime`, else UTC.
    pub(super) fn local() -> Self {
        let zone = TimeZone::system();
        Self { zone }
    }

    fn clock(&self, time: Timestamp) -> String {
        let local = time.to_zoned(self.zone.clone());
        local.strftime("%H:%M:%S").to_string()
    }
}

impl<S, N> FormatEvent<S, N> for Pretty
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    #[expect(
        clippy::disallowed_methods,
        reason = "a log line has the time at which it is written, not that of a clock passed in"
    )]
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        let mut said = Said {
            cuts_ids: event.metadata().target() == REQUEST && level == Level::INFO,
            ..Said::default()
        };
        event.record(&mut said);
        if said.has_hash && said.fields.is_empty() {
            return Ok(());
        }
        let time = self.clock(Timestamp::now());
        match line.has_ansi_escapes() {
            true => write!(
                line,
                "\x1b[2m{time}\x1b[0m \x1b[{}m{level:<5}\x1b[0m ",
                colour(level)
            )?,
            false => write!(line, "{time} {level:<5} ")?,
        }
        writeln!(line, "{}{}", said.message, said.fields)
    }
}

/// Codes of ECMA-48 section 8.3.117.
fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "1;31",
        Level::WARN => "33",
        _ => "32",
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: String,
    /// Whether a hash was left out.
    has_hash: bool,
    /// Whether ids are shown by their ends alone.
    cuts_ids: bool,
}

impl Said {
    /// A value with spaces is quoted, so that its end is seen.
    fn add(&mut self, name: &str, value: &str) {
        let quoted = value.is_empty() || (value.contains(' ') && !value.starts_with('"'));
        let quote = if quoted { "\"" } else { "" };
        let value = printable(value);
        self.fields
            .push_str(&format!(" {name}={quote}{value}{quote}"));
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message.push_str(&printable(&text)),
            AUDIT_HEAD => self.has_hash = true,
            name => self.add(name, &text),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(&printable(value)),
            name if self.cuts_ids => self.add(name, &cut(value)),
            name => self.add(name, value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name().strip_suffix(MICROSECONDS) {
            Some(name) => self.add(name, &duration(value)),
            None => self.add(field.name(), &value.to_string()),
        }
    }
}

/// `req_0000c0de000000000000000a` as `req_…00000a`; what is no such id as it is.
fn cut(value: &str) -> Cow<'_, str> {
    let is_part = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match value.split_once('_') {
        Some((kind, id)) if id.len() >= LONG_ID && is_part(kind) && is_part(id) => {
            format!("{kind}_\u{2026}{}", &id[id.len() - ID_END..]).into()
        }
        _ => value.into(),
    }
}

/// A number of microseconds in the unit that leaves few digits.
fn duration(microseconds: u64) -> String {
    let of = |unit: u64| microseconds as f64 / unit as f64;
    match microseconds {
        0..1_000 => format!("{microseconds}\u{b5}s"),
        1_000..10_000 => format!("{:.1}ms", of(1_000)),
        10_000..1_000_000 => format!("{:.0}ms", of(1_000)),
        _ => format!("{:.1}s", of(1_000_000)),
    }
}

/// Says that lines were dropped.
pub(super) fn dropped(lines: usize) -> String {
    format!("WARN  log lines dropped lines={lines}\n")
}

/// The target of the lines about forwarded and refused requests.
const REQUEST: &str = "keyside::request";

/// What the names of fields with such a duration end in.
const MICROSECONDS: &str = "_us";

/// From how many characters on an id is cut, and how many of them are left. The last ones are a counter or random.
const LONG_ID: usize = 20;
const ID_END: usize = 6;

/// The field with the head of the audit log.
const AUDIT_HEAD: &str = "audit_head";

#[cfg(test)]
mod tests {
    use super::super::json::tests::Lines;
    use super::*;

    fn line(ansi: bool, say: impl FnOnce()) -> String {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(ansi)
            .event_format(Pretty {
                zone: TimeZone::UTC,
            })
            .with_writer(lines.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, say);
        lines.text()
    }

    /// What follows the time of a line.
    fn after_time(line: &str) -> &str {
        let (time, rest) = line.split_at(9);
        let is_time = time.bytes().zip(b"dd:dd:dd ").all(|(is, form)| match form {
            b'd' => is.is_ascii_digit(),
            other => is == *other,
        });
        assert!(is_time, "{line:?}");
        rest
    }

    #[test]
    fn a_time_is_that_of_the_zone() {
        let time: Timestamp = "2026-11-22T10:03:07.9Z".parse().unwrap();
        for (hours, expected) in [(0, "10:03:07"), (2, "12:03:07"), (-11, "23:03:07")] {
            let zone = TimeZone::fixed(jiff::tz::offset(hours));
            assert_eq!(Pretty { zone }.clock(time), expected);
        }
    }

    #[test]
    fn a_line_is_a_time_a_level_a_message_and_what_is_known() {
        let absent = None::<u64>;
        let line = line(false, || {
            tracing::warn!(status = 429_u16, tokens = absent, name = "a b", path = ?"/v1", ok = true, "turned away");
        });
        let expected = "WARN  turned away status=429 name=\"a b\" path=\"/v1\" ok=true\n";
        assert_eq!(after_time(&line), expected);
    }

    #[test]
    fn a_hash_that_nobody_can_use_is_left_out_and_what_is_about_it_alone_is_no_line() {
        let alone = line(
            false,
            || tracing::info!(audit_head = %"7 sha256:ab", "audit record on disk"),
        );
        assert_eq!(alone, "");
        let beside = line(
            false,
            || tracing::info!(audit_head = %"7 sha256:ab", workspaces = 2, "opened"),
        );
        assert_eq!(after_time(&beside), "INFO  opened workspaces=2\n");
    }

    #[test]
    fn a_request_that_went_well_is_told_with_short_ids_and_a_duration_that_can_be_read() {
        let (request, key) = (
            "req_0000c0de000000000000000a",
            "cred_abcdefghijklmnopqrstuvwxyz",
        );
        let well = line(false, || {
            tracing::info!(target: "keyside::request", request_id = request, credential = key, workspace = "req_a",
                latency_us = 38_412_u64, "request");
        });
        assert_eq!(
            after_time(&well),
            "INFO  request request_id=req_\u{2026}00000a credential=cred_\u{2026}uvwxyz workspace=req_a latency=38ms\n"
        );
        // This one is followed up.
        let ill = line(
            false,
            || tracing::warn!(target: "keyside::request", request_id = request, "request"),
        );
        assert_eq!(
            after_time(&ill),
            format!("WARN  request request_id={request}\n")
        );
        let other = line(false, || tracing::info!(credential = key, "rotated"));
        assert_eq!(
            after_time(&other),
            format!("INFO  rotated credential={key}\n")
        );
    }

    #[test]
    fn a_duration_has_few_digits() {
        for (microseconds, expected) in [
            (0, "0\u{b5}s"),
            (999, "999\u{b5}s"),
            (1_240, "1.2ms"),
            (38_412, "38ms"),
            (999_499, "999ms"),
            (1_260_000, "1.3s"),
            (95_000_000, "95.0s"),
        ] {
            assert_eq!(duration(microseconds), expected);
        }
    }

    #[test]
    fn a_value_can_neither_end_a_line_nor_colour_it() {
        let line = line(false, || {
            tracing::error!(text = "a\nb\x1b[31m", "\x1b[2Jgone")
        });
        assert_eq!(
            after_time(&line),
            "ERROR \u{fffd}[2Jgone text=a\u{fffd}b\u{fffd}[31m\n"
        );
    }

    #[test]
    fn colours_are_there_only_where_they_are_wanted() {
        let say = || tracing::warn!("said");
        assert!(line(true, say).contains("\x1b[33mWARN "));
        assert!(!line(false, say).contains('\x1b'));
    }
}
