//! Log lines on their way to standard error.
//!
//! A line costs a request one copy under a lock. A thread of its own writes what
//! has gathered, so that a slow terminal slows no request down, and a busy minute
//! makes a few writes of many lines.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Takes lines. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Shared>);

#[derive(Default)]
struct Shared {
    gathered: Mutex<Gathered>,
    changed: Condvar,
}

#[derive(Default)]
struct Gathered {
    lines: Vec<u8>,
    dropped: usize,
    closed: bool,
}

/// Writes what is left when it is dropped.
pub(super) struct Writing {
    sink: Sink,
    thread: Option<JoinHandle<()>>,
}

/// Starts the thread that writes; `dropped` says how many lines it had to drop, in a line of the same form.
pub(super) fn start(dropped: fn(usize) -> String) -> io::Result<(Sink, Writing)> {
    let sink = Sink::default();
    let own = sink.clone();
    let thread = thread::Builder::new()
        .name("log".into())
        .spawn(move || own.write_out(io::stderr(), dropped))?;
    let writing = Writing {
        sink: sink.clone(),
        thread: Some(thread),
    };
    Ok((sink, writing))
}

impl Sink {
    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0
            .gathered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, line: &[u8]) {
        let mut gathered = self.lock();
        if gathered.lines.len() + line.len() > BYTES_BEHIND {
            gathered.dropped += 1;
            return;
        }
        let first = gathered.lines.is_empty();
        gathered.lines.extend_from_slice(line);
        if first {
            self.0.changed.notify_one();
        }
    }

    /// Until the sink is closed and empty.
    fn write_out(&self, mut to: impl Write, tell_dropped: fn(usize) -> String) {
        let mut lines = Vec::new();
        loop {
            let waiting = |gathered: &mut Gathered| gathered.lines.is_empty() && !gathered.closed;
            let gathered = self.0.changed.wait_while(self.lock(), waiting);
            let gathered = gathered.unwrap_or_else(PoisonError::into_inner);
            let open = |gathered: &mut Gathered| !gathered.closed;
            let gathered = self.0.changed.wait_timeout_while(gathered, GATHER, open);
            let (mut gathered, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            mem::swap(&mut lines, &mut gathered.lines);
            let (dropped, closed) = (mem::take(&mut gathered.dropped), gathered.closed);
            drop(gathered);
            // There is nobody to tell that standard error is gone.
            let _ = to.write_all(&lines);
            if dropped > 0 {
                let _ = to.write_all(tell_dropped(dropped).as_bytes());
            }
            lines.clear();
            if closed {
                return;
            }
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.sink.lock().closed = true;
        self.sink.0.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One line: the formatter hands it over whole.
impl Write for &Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.take(line);
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

/// How long lines gather before they are written.
const GATHER: Duration = Duration::from_millis(10);
/// What may wait for a slow sink; lines beyond it are dropped and counted.
const BYTES_BEHIND: usize = 4 << 20;
