//! Prints the result of a command on standard output, as text or JSON, and nothing else there.

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde::Serialize;

use super::{Failure, table::Table};
use crate::terminal::colour_wanted;

/// The form in which results are printed.
pub(crate) struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            colour: io::stdout().is_terminal() && colour_wanted(),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints `value` as JSON, or the text that `text` returns for people.
    pub(crate) fn print<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&Self) -> String,
    ) -> Result<(), Failure> {
        if !self.json {
            return self.write(text(self).as_bytes());
        }
        let json = serde_json::to_string_pretty(value);
        let json = json.map_err(|error| {
            Failure::failed(format!("the result cannot be written as JSON: {error}"))
        })?;
        self.write(format!("{json}\n").as_bytes())
    }

    pub(crate) fn table(&self, table: &Table) -> String {
        table.render(self.colour)
    }

    /// Writes bytes to standard output. A reader that closes it early (`| head`) is not a failure.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::failed(format!(
                "standard output cannot be written: {error}"
            ))),
            _ => Ok(()),
        }
    }

    /// Prints a note on standard error, so that the result on standard output can be parsed.
    pub(crate) fn note(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}
