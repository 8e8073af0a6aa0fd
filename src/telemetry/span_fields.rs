//! The fields of the request span that a log line is written in: the request's id, workspace and
//! provider.
//!
//! Runs twice in a request's life at most. When the span is created its values are copied into one
//! string, which the registry keeps beside the span; nothing is escaped or parsed. They are read
//! back only when a line is written inside the span.

use std::fmt;

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::Record,
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FmtContext, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

/// Stores each field of a span as its name and its value, both ended by a NUL character.
pub(super) struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        fields.record(&mut Copier(writer));
        Ok(())
    }

    /// The default implementation puts a space between earlier and later fields.
    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        self.format_fields(current.as_writer(), fields)
    }
}

/// Calls `add` with the name and value of each field of Keyside's spans around an event. Leaves out
/// fields that the event has itself, and spans of other crates, whose fields may hold anything.
pub(super) fn for_each<S>(
    context: &FmtContext<'_, S, SpanFields>,
    event: &Event<'_>,
    mut add: impl FnMut(&str, &str),
) where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let own = event.metadata().fields();
    for span in context.event_scope().into_iter().flatten() {
        if !span.metadata().target().starts_with("keyside") {
            continue;
        }
        let extensions = span.extensions();
        let Some(fields) = extensions.get::<FormattedFields<SpanFields>>() else {
            continue;
        };
        let mut parts = fields.fields.split_terminator(END);
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            if own.field(name).is_none() {
                add(name, value);
            }
        }
    }
}

struct Copier<'a>(Writer<'a>);

impl Visit for Copier<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        for part in [field.name(), "\0", value, "\0"] {
            // Writing to a string cannot fail.
            let _ = self.0.write_str(part);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{}\0{value:?}\0", field.name());
    }
}

const END: char = '\0';
