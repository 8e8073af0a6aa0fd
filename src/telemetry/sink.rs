//! Buffers log lines for standard error.
//!
//! A line costs a request one copy under a lock. A separate thread writes the buffer, so a slow
//! terminal does not slow requests down, and under load many lines share one write.

use std::{
    io::{self, Write},
    mem,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Buffers lines. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Shared>);

#[derive(Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    changed: Condvar,
}

#[derive(Default)]
struct Buffer {
    lines: Vec<u8>,
    dropped: usize,
    closed: bool,
}

/// The thread that writes the buffer. Dropping this writes the rest and ends the thread.
pub(super) struct WriterThread {
    sink: Sink,
    thread: Option<JoinHandle<()>>,
}

/// Starts the thread. `dropped` formats the line that reports how many lines were dropped.
pub(super) fn start(dropped: fn(usize) -> String) -> io::Result<(Sink, WriterThread)> {
    let sink = Sink::default();
    let source = sink.clone();
    let thread = thread::Builder::new()
        .name("log".into())
        .spawn(move || source.write_out(io::stderr(), dropped))?;
    let writer = WriterThread {
        sink: sink.clone(),
        thread: Some(thread),
    };
    Ok((sink, writer))
}

impl Sink {
    fn push(&self, line: &[u8]) {
        let mut buffer = self.0.buffer.lock();
        if buffer.lines.len() + line.len() > BUFFER_LIMIT {
            buffer.dropped += 1;
            return;
        }
        let first = buffer.lines.is_empty();
        buffer.lines.extend_from_slice(line);
        if first {
            self.0.changed.notify_one();
        }
    }

    /// Writes the buffer to `output` until the sink is closed and empty.
    fn write_out(&self, mut output: impl Write, dropped_line: fn(usize) -> String) {
        let mut lines = Vec::new();
        loop {
            let waiting = |buffer: &mut Buffer| buffer.lines.is_empty() && !buffer.closed;
            let mut buffer = self.0.buffer.lock();
            self.0.changed.wait_while(&mut buffer, waiting);
            let open = |buffer: &mut Buffer| !buffer.closed;
            let changed = &self.0.changed;
            changed.wait_while_for(&mut buffer, open, BATCH_PERIOD);
            mem::swap(&mut lines, &mut buffer.lines);
            let (dropped, closed) = (mem::take(&mut buffer.dropped), buffer.closed);
            drop(buffer);
            // Without standard error there is nowhere to report a failed write.
            let _ = output.write_all(&lines);
            if dropped > 0 {
                let _ = output.write_all(dropped_line(dropped).as_bytes());
            }
            lines.clear();
            if closed {
                return;
            }
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.sink.0.buffer.lock().closed = true;
        self.sink.0.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Each write is one line: the formatter hands lines over whole.
impl Write for &Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = &'a Sink;

    fn make_writer(&'a self) -> &'a Sink {
        self
    }
}

/// How long lines are collected before they are written together.
const BATCH_PERIOD: Duration = Duration::from_millis(10);
/// Bytes that may wait for a slow standard error. Lines beyond it are dropped and counted.
const BUFFER_LIMIT: usize = 4 << 20;
