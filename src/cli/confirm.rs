//! Asks for a confirmation by name before an action that cannot be undone.

use std::io::{self, IsTerminal, Write};

use super::Failure;

/// An action that cannot be undone.
pub(crate) struct Confirmation<'a> {
    /// The action, as a sentence without its final period.
    pub(crate) action: String,
    /// The name to type, and what kind of name it is.
    pub(crate) name: &'a str,
    pub(crate) name_kind: &'static str,
    /// What to say if the name was not typed.
    pub(crate) if_declined: &'static str,
}

impl Confirmation<'_> {
    /// Asks for the name on the terminal.
    pub(crate) fn confirm(&self) -> Result<(), Failure> {
        if !io::stdin().is_terminal() {
            return Err(Failure::usage(
                "expected a confirmation, found no terminal to ask for it on",
            )
            .next("Give --yes to continue without a confirmation."));
        }
        let _ = write!(
            io::stderr().lock(),
            "{}. This cannot be undone.\nType the {} to continue: ",
            self.action,
            self.name_kind
        );
        let mut typed = String::new();
        let read = io::stdin().read_line(&mut typed);
        match read.is_ok() && typed.trim_end_matches(['\r', '\n']) == self.name {
            true => Ok(()),
            false => Err(Failure::failed(format!(
                "expected the {}, found something else: {}",
                self.name_kind, self.if_declined
            ))),
        }
    }
}
