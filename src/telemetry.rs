//! Writes log lines to standard error: JSON, or short lines for people at a terminal.
//!
//! Debug and trace lines of other crates are never written, whatever the filter says: some of them
//! print headers.

mod json;
mod pretty;
mod request_fields;
mod sink;

use std::io::{self, IsTerminal};

use json::Json;
use keyside_config::{Log, LogFormat};
use pretty::Pretty;
use sink::{Sink, WriterThread};
use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{ParseError, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::terminal::colour_wanted;

/// Keeps logging running. Writes the buffered lines when it is dropped.
pub(crate) struct Telemetry(#[expect(dead_code, reason = "held for its Drop")] WriterThread);

/// `log.filter` cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    /// It cannot be parsed.
    #[error("log.filter must be a list of directives, such as \"info,keyside_proxy=debug\": {0}")]
    Unparsed(#[from] ParseError),
    /// A word that would be read as the name of some crate: no line of Keyside's would be written.
    #[error(
        "log.filter must be a list of directives, such as \"info,keyside_proxy=debug\": one is neither a level (off, error, \
         warn, info, debug, trace) nor the name of a crate of Keyside"
    )]
    Word,
}

/// The system refused to start a thread.
#[derive(Debug, thiserror::Error)]
#[error("the thread that writes log lines could not be started: {0}")]
pub(crate) struct StartError(#[from] io::Error);

/// Parses `log.filter`. Without a directive, lines from INFO up are written.
pub(crate) fn filter(log: &Log) -> Result<EnvFilter, FilterError> {
    let mut directives = log.filter.split(',').map(str::trim);
    if !directives.all(is_meant) {
        return Err(FilterError::Word);
    }
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    Ok(filter.parse(&log.filter)?)
}

/// Whether a directive is more than a misspelled level, such as `warning` or `verbose`.
fn is_meant(directive: &str) -> bool {
    directive.is_empty()
        || directive.contains(['=', '['])
        || directive.starts_with("keyside")
        || directive.parse::<LevelFilter>().is_ok()
}

/// Starts logging.
///
/// The filters are global layers, so that lines which they refuse cost nothing but a flag at their
/// place in the code.
pub(crate) fn start(format: LogFormat, filter: EnvFilter) -> Result<Telemetry, StartError> {
    let json = is_json(format);
    let dropped = if json { json::dropped } else { pretty::dropped };
    let (sink, writer) = sink::start(dropped)?;
    tracing_subscriber::registry()
        .with(lines(json, sink))
        .with(filter_fn(may_be_written))
        .with(filter)
        .init();
    Ok(Telemetry(writer))
}

fn is_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    }
}

fn lines(json: bool, sink: Sink) -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = fmt::layer().with_writer(sink);
    match json {
        true => layer.event_format(Json).boxed(),
        false => layer
            .with_ansi(io::stderr().is_terminal() && colour_wanted())
            .event_format(Pretty::local())
            .boxed(),
    }
}

/// Whether a line may be written at all: Keyside's own, and warnings and errors of others.
fn may_be_written(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("keyside") || *metadata.level() <= Level::WARN
}
