//! What a command prints on standard output: text for people, or JSON for programs. Nothing else ever goes there.

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde::Serialize;

use super::{Failure, table::Table};
use crate::terminal::colour_wanted;

/// Where answers go, and in which form.
pub(crate) struct Answer {
    json: bool,
    colour: bool,
}

impl Answer {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            colour: io::stdout().is_terminal() && colour_wanted(),
        }
    }

    /// One answer in both forms, of which only the asked-for one is made.
    pub(crate) fn give<T: Serialize>(
        &self,
        value: &T,
        people: impl FnOnce(&Self) -> String,
    ) -> Result<(), Failure> {
        if !self.json {
            return self.bytes(people(self).as_bytes());
        }
        let json = serde_json::to_string_pretty(value);
        let json = json.map_err(|error| {
            Failure::failed(format!("the answer cannot be written as JSON: {error}"))
        })?;
        self.bytes(format!("{json}\n").as_bytes())
    }

    /// A table as this terminal shows it.
    pub(crate) fn table(&self, table: &Table) -> String {
        table.render(self.colour)
    }

    /// Bytes as they are. A reader that has seen enough (`| head`) is no failure.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::failed(format!(
                "standard output cannot be written: {error}"
            ))),
            _ => Ok(()),
        }
    }

    /// A remark beside the answer, on standard error so that the answer stays clean.
    pub(crate) fn remark(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}
