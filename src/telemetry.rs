//! Log lines: JSON, or short ones for people on a terminal, on standard error.
//!
//! Other crates' debug and trace lines never reach a sink, whatever the filter
//! says: some of them print headers.

mod json;
mod pretty;
mod sink;

use crate::terminal::colour_wanted;
use json::Json;
use keyside_config::{Log, LogFormat};
use pretty::Pretty;
use sink::Sink;
use std::io::{self, IsTerminal};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// Writes what is still in the buffer when it is dropped.
pub(crate) struct Telemetry(#[expect(dead_code, reason = "held for its Drop")] sink::Writing);

/// The filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("log.filter is no list of directives such as \"info,keyside_proxy=debug\": {0}")]
pub(crate) struct FilterError(#[from] tracing_subscriber::filter::ParseError);

/// The system gives no thread.
#[derive(Debug, thiserror::Error)]
#[error("the thread that writes log lines could not be started: {0}")]
pub(crate) struct StartError(#[from] io::Error);

/// What `log.filter` means.
pub(crate) fn filter(log: &Log) -> Result<EnvFilter, FilterError> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    Ok(filter.parse(&log.filter)?)
}

/// Starts logging.
pub(crate) fn start(format: LogFormat, filter: EnvFilter) -> Result<Telemetry, StartError> {
    let json = is_json(format);
    let (sink, writing) = sink::start(if json { json::dropped } else { pretty::dropped })?;
    let lines = lines(json, sink).with_filter(filter_fn(may_be_written));
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
    Ok(Telemetry(writing))
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

fn may_be_written(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("keyside") || *metadata.level() <= Level::WARN
}
