//! What every command gets: where the settings come from, and how its result is printed.
//!
//! A result goes to standard output, as text or JSON, and nothing else does.

use std::{
    fmt::Display,
    io::{self, ErrorKind, IsTerminal, Write},
};

use keyside_config::{Settings, Sources};
use serde::Serialize;

use super::{Failure, table::Table};
use crate::terminal::colour_wanted;

pub(crate) struct Console {
    pub(crate) sources: Sources,
    json: bool,
    colour: bool,
}

impl Console {
    pub(crate) fn new(sources: Sources, json: bool) -> Self {
        Self {
            sources,
            json,
            colour: io::stdout().is_terminal() && colour_wanted(),
        }
    }

    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings::load(&self.sources)?.settings)
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints `value` as JSON, or the text that `text` returns for people.
    pub(crate) fn print<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.json {
            true => self.print_json(value),
            false => self.write(text().as_bytes()),
        }
    }

    pub(crate) fn print_json<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
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
    pub(crate) fn note(&self, text: impl Display) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    pub(crate) fn warn(&self, warning: impl Display) {
        self.note(format_args!("warning: {warning}"));
    }
}
