//! Formats short log lines for a person at a terminal: local time, level, message, fields.
//!
//! `12:03:07 WARN client turned away limit=1024`. The head of the audit log is omitted, because
//! only a program can compare the hash. Durations get a fitting unit. Ids are shortened where a
//! line is not an error's own: `keyside run list` and the JSON lines have them in full.

use std::{borrow::Cow, fmt};

use jiff::{Timestamp, tz::TimeZone};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::request_fields;
use crate::terminal::printable;

/// Formats events as short lines.
pub(super) struct Pretty {
    zone: TimeZone,
}

impl Pretty {
    /// Shows times in the system's time zone: `TZ`, else `/etc/localtime`, else UTC.
    pub(super) fn local() -> Self {
        let zone = TimeZone::system();
        Self { zone }
    }

    fn local_time(&self, time: Timestamp) -> String {
        let local = time.to_zoned(self.zone.clone());
        local.strftime("%H:%M:%S").to_string()
    }
}

impl<S, N> FormatEvent<S, N> for Pretty
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    #[expect(
        clippy::disallowed_methods,
        reason = "a log line has the time at which it is written, not the time of an injected clock"
    )]
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        let mut shown = ShownFields {
            shortens_ids: event.metadata().target() == REQUEST && level == Level::INFO,
            ..ShownFields::default()
        };
        event.record(&mut shown);
        if shown.has_audit_head && shown.fields.is_empty() {
            return Ok(());
        }
        request_fields::for_each(event, |name, value| {
            shown.add(name, &shortened(value));
        });
        let time = self.local_time(Timestamp::now());
        match line.has_ansi_escapes() {
            true => write!(
                line,
                "\x1b[2m{time}\x1b[0m \x1b[{}m{level:<5}\x1b[0m ",
                colour(level)
            )?,
            false => write!(line, "{time} {level:<5} ")?,
        }
        writeln!(line, "{}{}", shown.message, shown.fields)
    }
}

/// The SGR parameter for a level (ECMA-48 section 8.3.117).
fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "1;31",
        Level::WARN => "33",
        _ => "32",
    }
}

/// The message and fields of an event, as the line shows them.
#[derive(Default)]
struct ShownFields {
    message: String,
    fields: String,
    /// Whether the head of the audit log was omitted.
    has_audit_head: bool,
    /// Whether the event's own ids are shortened.
    shortens_ids: bool,
}

impl ShownFields {
    /// Appends ` name=value`. A value with spaces is quoted, so that its end is visible.
    fn add(&mut self, name: &str, value: &str) {
        let quoted = value.is_empty() || (value.contains(' ') && !value.starts_with('"'));
        let quote = if quoted { "\"" } else { "" };
        let value = printable(value);
        self.fields
            .push_str(&format!(" {name}={quote}{value}{quote}"));
    }
}

impl Visit for ShownFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message.push_str(&printable(&text)),
            AUDIT_HEAD => self.has_audit_head = true,
            name => self.add(name, &text),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(&printable(value)),
            name if self.shortens_ids => self.add(name, &shortened(value)),
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

/// Shortens `req_0000c0de000000000000000a` to `req_…00000a`. Other values stay as they are.
fn shortened(value: &str) -> Cow<'_, str> {
    let is_part = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match value.split_once('_') {
        Some((kind, id)) if id.len() >= LONG_ID && is_part(kind) && is_part(id) => {
            format!("{kind}_\u{2026}{}", &id[id.len() - ID_END..]).into()
        }
        _ => value.into(),
    }
}

/// Microseconds, in the unit that needs the fewest digits.
fn duration(microseconds: u64) -> String {
    let of = |unit: u64| microseconds as f64 / unit as f64;
    match microseconds {
        0..1_000 => format!("{microseconds}\u{b5}s"),
        1_000..10_000 => format!("{:.1}ms", of(1_000)),
        10_000..1_000_000 => format!("{:.0}ms", of(1_000)),
        _ => format!("{:.1}s", of(1_000_000)),
    }
}

pub(super) fn dropped(lines: usize) -> String {
    format!("WARN  log lines dropped lines={lines}\n")
}

/// The target of the lines that report forwarded and refused requests.
const REQUEST: &str = "keyside::request";

/// The suffix of fields that hold microseconds.
const MICROSECONDS: &str = "_us";

/// Characters after the `_` from which on an id is shortened, and how many of its last characters
/// remain. Those are a counter or random.
const LONG_ID: usize = 20;
const ID_END: usize = 6;

/// The field that holds the head of the audit log.
const AUDIT_HEAD: &str = "audit_head";

#[cfg(test)]
mod tests {
    use keyside_credentials::{RequestContext, RequestId};

    use super::{super::json::tests::Lines, *};

    fn line(ansi: bool, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(ansi)
            .event_format(Pretty {
                zone: TimeZone::UTC,
            })
            .with_writer(lines.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        lines.text()
    }

    /// The line without its time.
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
    fn a_time_is_shown_in_the_system_s_zone() {
        let time: Timestamp = "2026-11-22T10:03:07.9Z".parse().unwrap();
        for (hours, expected) in [(0, "10:03:07"), (2, "12:03:07"), (-11, "23:03:07")] {
            let zone = TimeZone::fixed(jiff::tz::offset(hours));
            assert_eq!(Pretty { zone }.local_time(time), expected);
        }
    }

    #[test]
    fn a_line_is_a_time_a_level_a_message_and_its_fields() {
        let absent = None::<u64>;
        let line = line(false, || {
            tracing::warn!(status = 429_u16, tokens = absent, name = "a b", path = ?"/v1", ok = true, "turned away");
        });
        let expected = "WARN  turned away status=429 name=\"a b\" path=\"/v1\" ok=true\n";
        assert_eq!(after_time(&line), expected);
    }

    #[test]
    fn the_audit_head_is_omitted_and_so_is_a_line_with_nothing_else() {
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
    fn a_successful_request_has_short_ids_and_a_readable_duration() {
        let (request, key) = (REQUEST_ID, "cred_abcdefghijklmnopqrstuvwxyz");
        let success = line(false, || {
            tracing::info!(target: "keyside::request", request_id = request, credential = key, workspace = "req_a",
                latency_us = 38_412_u64, "request");
        });
        assert_eq!(
            after_time(&success),
            "INFO  request request_id=req_\u{2026}00000a credential=cred_\u{2026}uvwxyz workspace=req_a latency=38ms\n"
        );
        // Somebody will look for this one's id.
        let failure = line(
            false,
            || tracing::warn!(target: "keyside::request", request_id = request, "request"),
        );
        assert_eq!(
            after_time(&failure),
            format!("WARN  request request_id={request}\n")
        );
        let other = line(false, || tracing::info!(credential = key, "rotated"));
        assert_eq!(
            after_time(&other),
            format!("INFO  rotated credential={key}\n")
        );
    }

    #[test]
    fn a_line_within_a_request_ends_with_its_short_id() {
        let id = RequestId::next();
        let (workspace, provider) = ("acme".parse().unwrap(), "openai".parse().unwrap());
        let context = RequestContext::with_credential(id, workspace, provider);
        let line = line(false, || {
            context.scope(|| tracing::warn!(attempt = 2, "failed"));
        });
        let end = &id.as_str()[id.as_str().len() - 6..];
        assert_eq!(
            after_time(&line),
            format!(
                "WARN  failed attempt=2 request_id=req_\u{2026}{end} workspace=acme provider=openai\n"
            )
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
    fn a_line_is_coloured_only_on_request() {
        let log = || tracing::warn!("failed");
        assert!(line(true, log).contains("\x1b[33mWARN "));
        assert!(!line(false, log).contains('\x1b'));
    }

    const REQUEST_ID: &str = "req_0000c0de000000000000000a";
}
