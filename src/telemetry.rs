//! Log lines: JSON, or pretty on a terminal, on standard error.
//!
//! Other crates' debug and trace lines never reach a sink, whatever the filter
//! says: some of them print headers.

use keyside_config::{Log, LogFormat};
use std::io::{self, IsTerminal};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// Writes what is still in the buffer when it is dropped.
pub(crate) struct Telemetry(#[expect(dead_code, reason = "held for its Drop")] WorkerGuard);

/// The filter in `log.filter` cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "log.filter is not a list of directives such as \"info\" or \"info,keyside_proxy=debug\": {0}"
)]
pub(crate) struct FilterError(#[from] tracing_subscriber::filter::ParseError);

/// Starts logging. Lines are written by a thread of their own, so that a slow
/// terminal slows no request down; when it falls far behind, lines are dropped.
pub(crate) fn start(log: &Log) -> Result<Telemetry, FilterError> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let filter = filter.parse(&log.filter)?;
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_BEHIND)
        .finish(io::stderr());
    let lines = lines(log.format, writer).with_filter(filter_fn(may_be_written));
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
    Ok(Telemetry(guard))
}

fn lines(format: LogFormat, writer: NonBlocking) -> Box<dyn Layer<Registry> + Send + Sync> {
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    let colours = !json && io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match json {
        true => fmt::layer().json().with_writer(writer).boxed(),
        false => fmt::layer().with_ansi(colours).with_writer(writer).boxed(),
    }
}

fn may_be_written(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("keyside") || *metadata.level() <= Level::WARN
}

/// Lines that may wait for a slow sink; each takes some 400 bytes.
const LINES_BEHIND: usize = 8 * 1024;
