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
        // Put together here and handed over once: each piece would be a call through a pointer.
        let mut text = String::with_capacity(512);
        text.push_str("{\"timestamp\":\"");
        clock::write_now(&mut text)?;
        text.push_str("\",\"level\":\"");
        text.push_str(metadata.level().as_str());
        text.push_str("\",\"fields\":{");
        event.record(&mut Fields {
            text: &mut text,
            separator: "\"",
        });
        // Of the code, not of a request: nothing in it needs an escape.
        text.push_str("},\"target\":\"");
        text.push_str(metadata.target());
        text.push_str("\"}\n");
        line.write_str(&text)
    }
}

/// Says that lines were dropped.
pub(super) fn dropped(lines: usize) -> String {
    format!(
        "{{\"level\":\"WARN\",\"fields\":{{\"message\":\"log lines dropped\",\"lines\":{lines}}}}}\n"
    )
}

/// The fields of one event, as they come.
struct Fields<'a> {
    text: &'a mut String,
    separator: &'static str,
}

impl Fields<'_> {
    fn name(&mut self, field: &Field) -> &mut String {
        self.text.push_str(self.separator);
        self.separator = ",\"";
        self.text.push_str(field.name());
        self.text.push_str("\":");
        self.text
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = self.name(field);
        text.push('"');
        // Text takes whatever it is given.
        let _ = write!(Escaping(text), "{value:?}");
        text.push('"');
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = self.name(field);
        text.push('"');
        Escaping(text).push_str(value);
        text.push('"');
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field).push_str(itoa::Buffer::new().format(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field).push_str(itoa::Buffer::new().format(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field)
            .push_str(if value { "true" } else { "false" });
    }
}

/// Text inside of a JSON string (RFC 8259 section 7).
struct Escaping<'a>(&'a mut String);

impl Escaping<'_> {
    fn push_str(&mut self, text: &str) {
        // Most texts have nothing to escape. With no way out before the end, many bytes are looked at together.
        let plain = text
            .bytes()
            .fold(true, |plain, byte| plain & !needs_escape(byte));
        let escapes = (!plain).then(|| {
            text.bytes()
                .enumerate()
                .filter(|(_, byte)| needs_escape(*byte))
        });
        let mut rest = 0;
        for (at, byte) in escapes.into_iter().flatten() {
            self.0.push_str(&text[rest..at]);
            match byte {
                b'"' => self.0.push_str("\\\""),
                b'\\' => self.0.push_str("\\\\"),
                control => self.0.push_str(&format!("\\u{control:04x}")),
            }
            rest = at + 1;
        }
        self.0.push_str(&text[rest..]);
    }
}

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

fn needs_escape(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\')
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    pub(in crate::telemetry) struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        pub(in crate::telemetry) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

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
        let line = lines.text();
        assert_eq!(line.matches('\n').count(), 1);
        serde_json::from_str(&line).unwrap()
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
