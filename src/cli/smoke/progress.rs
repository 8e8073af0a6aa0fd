//! A line on standard error that says what is waited for, if that is a terminal.

use std::io::{self, IsTerminal, Write};

use keyside_admin::wire::SmokeItemView;

/// The line. Dropping it removes it.
pub(super) struct Progress {
    is_terminal: bool,
    is_shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            is_shown: false,
        }
    }

    /// Replaces the line.
    pub(super) fn show(&mut self, items: &[SmokeItemView]) {
        if self.is_terminal {
            self.is_shown = true;
            write(&format!("{CLEAR}{}", line(items)));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            write(CLEAR);
        }
    }
}

/// A closed standard error is no reason to fail.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

/// `2 of 5 checked, waiting for openai, groq and 1 more`.
pub(super) fn line(items: &[SmokeItemView]) -> String {
    let waiting = items.iter().filter(|item| item.outcome.is_none());
    let waiting: Vec<_> = waiting.map(|item| item.provider.as_str()).collect();
    let done = format!("{} of {} checked", items.len() - waiting.len(), items.len());
    let named = waiting.len().min(NAMED);
    let more = match waiting.len() - named {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match named {
        0 => done,
        named => format!("{done}, waiting for {}{more}", waiting[..named].join(", ")),
    }
}

/// Returns to the start of the line and erases it (ECMA-48 section 8.3.41).
const CLEAR: &str = "\r\x1b[2K";

/// So that the line fits into 80 columns.
const NAMED: usize = 3;
