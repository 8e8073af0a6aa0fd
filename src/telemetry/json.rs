//! Formats a log line as one JSON object.
//!
//! Has the same shape as the JSON of `tracing-subscriber`, whose serializer checks every piece of a
//! line again and cost more than any other step of a request. The fields of the request that a line
//! belongs to come after it, at the top level.

mod clock;

use std::fmt::{self, Write};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::request_fields;

pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        // Built here and handed over once, because each write is a call through a pointer.
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
        text.push_str("},\"target\":\"");
        // Comes from the code, not from a request, so nothing in it needs an escape.
        text.push_str(metadata.target());
        text.push('"');
        request_fields::for_each(event, |name, value| push_field(&mut text, name, value));
        text.push_str("}\n");
        line.write_str(&text)
    }
}

pub(super) fn dropped(lines: usize) -> String {
    format!(
        "{{\"level\":\"WARN\",\"fields\":{{\"message\":\"log lines dropped\",\"lines\":{lines}}}}}\n"
    )
}

/// Appends a field that is not the first one of its object.
fn push_field(text: &mut String, name: &str, value: &str) {
    text.push_str(",\"");
    text.push_str(name);
    text.push_str("\":\"");
    Escaping(text).push_str(value);
    text.push('"');
}

/// Writes the fields of one event in their order.
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
        // Writing to a string cannot fail.
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

/// Appends text to a JSON string, with escapes (RFC 8259 section 7).
struct Escaping<'a>(&'a mut String);

impl Escaping<'_> {
    fn push_str(&mut self, text: &str) {
        // Most texts need no escape. Without an early exit the compiler vectorises this loop.
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
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use keyside_credentials::{RequestContext, RequestId};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

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

    fn line(log: impl FnOnce()) -> serde_json::Value {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .event_format(Json)
            .with_writer(lines.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
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

    fn context() -> (RequestContext, RequestId) {
        let id = RequestId::next();
        let (workspace, provider) = ("acme".parse().unwrap(), "openai".parse().unwrap());
        (RequestContext::with_credential(id, workspace, provider), id)
    }

    #[test]
    fn a_line_within_a_request_has_its_fields_at_the_top_level() {
        let (context, id) = context();
        let line = line(|| context.scope(|| tracing::warn!(attempt = 2, "failed")));
        assert_eq!(line["request_id"], id.as_str());
        assert_eq!(line["workspace"], "acme");
        assert_eq!(line["provider"], "openai");
        assert_eq!(
            line["fields"],
            serde_json::json!({ "message": "failed", "attempt": 2 })
        );
    }

    #[test]
    fn a_field_of_the_line_itself_is_not_repeated_at_the_top_level() {
        let (context, _) = context();
        let line = line(|| context.scope(|| tracing::info!(request_id = "req_1", "request")));
        assert_eq!(line["fields"]["request_id"], "req_1");
        assert_eq!(line.get("request_id"), None);
        assert_eq!(line["workspace"], "acme");
    }

    #[test]
    fn a_line_outside_of_a_request_has_no_fields_at_the_top_level() {
        let (context, _) = context();
        let line = line(|| {
            context.scope(|| {});
            tracing::warn!("failed");
        });
        for name in ["request_id", "workspace", "provider"] {
            assert_eq!(line.get(name), None);
        }
    }

    #[test]
    fn every_character_is_preserved() {
        let text: String = (0..0x250).filter_map(char::from_u32).collect();
        let line = line(|| tracing::warn!(text, displayed = %text, "{text}"));
        for field in ["text", "displayed", "message"] {
            assert_eq!(line["fields"][field], text.as_str());
        }
    }

    #[test]
    fn a_value_of_a_request_is_escaped() {
        let mut object = "{\"id\":1".to_owned();
        push_field(&mut object, "workspace", "a\"b\n");
        object.push('}');
        let object: serde_json::Value = serde_json::from_str(&object).unwrap();
        assert_eq!(object["workspace"], "a\"b\n");
    }
}
