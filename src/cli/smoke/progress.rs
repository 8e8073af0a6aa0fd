//! A progress line on standard error, if that is a terminal.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use keyside_admin::wire::SmokeItemView;
use keyside_credentials::smoke::Class;

use crate::terminal::understands_escapes;

/// The line. Dropping it removes it.
pub(super) struct Progress {
    is_terminal: bool,
    /// The text that is shown; empty if there is none.
    shown: String,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal() && understands_escapes(),
            shown: String::new(),
        }
    }

    /// Replaces the line, if it has changed.
    pub(super) fn show(&mut self, items: &[SmokeItemView], elapsed: Duration) {
        let text = format!("{} s: {}", elapsed.as_secs(), line(items));
        if self.is_terminal && text != self.shown {
            write(&format!("{CLEAR}{CUT_OFF}{text}{WRAP}"));
            self.shown = text;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if !self.shown.is_empty() {
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

/// `2 of 6 checked, 1 failed, waiting for openai, groq, xai and 1 more`.
pub(super) fn line(items: &[SmokeItemView]) -> String {
    let of = |outcome: Option<Class>| items.iter().filter(move |item| item.outcome == outcome);
    let waiting: Vec<_> = of(None).map(|item| item.provider.as_str()).collect();
    let failed = match of(Some(Class::Failed)).count() {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let (all, checked) = (items.len(), items.len() - waiting.len());
    let done = format!("{checked} of {all} checked{failed}");
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
// A line that does not fit is cut off: of one that is wrapped, `CLEAR` would erase the last row
// only (DEC private mode 7, autowrap).
const CUT_OFF: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// So that the line fits into 80 columns.
const NAMED: usize = 3;
