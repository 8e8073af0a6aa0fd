//! One JSON object a line, written straight into the line's buffer.
//!
//! The same shape as `tracing-subscriber`'s own JSON, which goes through a
//! serializer that checks every piece of a line again, and with it cost more than
//! any other step of a request.

mod clock;

use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats events. Spans are left out: Keyside has none.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        line.write_str("{\"timestamp\":\"")?;
        clock::write_now(&mut line)?;
        line.write_str("\",\"level\":\"")?;
        line.write_str(metadata.level().as_str())?;
        line.write_str("\",\"fields\":{")?;
        let mut fields = Fields {
            line: &mut line,
            separator: "\"",
            written: Ok(()),
        };
        event.record(&mut fields);
        fields.written?;
        // Of the code, not of a request: nothing in it needs an escape.
        line.write_str("},\"target\":\"")?;
        line.write_str(metadata.target())?;
        line.write_str("\"}\n")
    }
}

/// The fields of one event, as they come.
struct Fields<'a, 'w> {
    line: &'a mut Writer<'w>,
    separator: &'static str,
    written: fmt::Result,
}

impl Fields<'_, '_> {
    fn write(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.written.is_ok() {
            self.written = self.write_one(field.name(), value);
        }
    }

    fn write_one(
        &mut self,
        name: &str,
        value: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.line.write_str(self.separator)?;
        self.separator = ",\"";
        self.line.write_str(name)?;
        self.line.write_str("\":")?;
        value(self.line)
    }
}

impl Visit for Fields<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, |line| {
            line.write_char('"')?;
            write!(Escaping(line), "{value:?}")?;
            line.write_char('"')
        });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, |line| {
            line.write_char('"')?;
            Escaping(line).write_str(value)?;
            line.write_char('"')
        });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, |line| {
            line.write_str(itoa::Buffer::new().format(value))
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, |line| write!(line, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, |line| write!(line, "{value}"));
    }
}

/// Text inside of a JSON string (RFC 8259 section 7).
struct Escaping<'a, 'w>(&'a mut Writer<'w>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.bytes().position(needs_escape) {
            self.0.write_str(&rest[..at])?;
            match rest.as_bytes()[at] {
                b'"' => self.0.write_str("\\\"")?,
                b'\\' => self.0.write_str("\\\\")?,
                control => write!(self.0, "\\u{control:04x}")?,
            }
            rest = &rest[at + 1..];
        }
        self.0.write_str(rest)
    }
}

fn needs_escape(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn line(say: impl FnOnce()) -> serde_json::Value {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .event_format(Json)
            .with_writer(lines.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, say);
        let line = lines.0.lock().unwrap().clone();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn a_line_is_one_object_with_each_field_in_its_own_type() {
        let line = line(|| {
            let absent = None::<u64>;
            tracing::info!(target: "keyside::request", status = 200_u16, change = -1, tokens = absent, ok = true,
                provider = "openai", path = ?"a", "request");
        });
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["target"], "keyside::request");
        let fields = serde_json::json!({
            "message": "request", "status": 200, "change": -1, "ok": true, "provider": "openai", "path": "\"a\"",
        });
        assert_eq!(line["fields"], fields);
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }

    #[test]
    fn every_character_comes_back_as_it_was() {
        let text: String = (0..0x250).filter_map(char::from_u32).collect();
        let line = line(|| tracing::warn!(text, displayed = %text, "{text}"));
        for field in ["text", "displayed", "message"] {
            assert_eq!(line["fields"][field], text.as_str());
        }
    }
}
