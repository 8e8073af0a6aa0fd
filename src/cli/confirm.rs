//! What cannot be undone is asked for by name.

use std::io::{self, IsTerminal, Write};

use super::Failure;

/// Something that will not come back.
pub(crate) struct Confirmation<'a> {
    /// What is about to happen, as a sentence without its end.
    pub(crate) action: String,
    /// What has to be typed, and what that is.
    pub(crate) name: &'a str,
    pub(crate) name_kind: &'static str,
    /// What was not done if it was not.
    pub(crate) if_declined: &'static str,
}

impl Confirmation<'_> {
    /// Asks for the name on a terminal.
    pub(crate) fn confirm(&self) -> Result<(), Failure> {
        if !io::stdin().is_terminal() {
            return Err(Failure::usage(
                "expected a confirmation, found no terminal to ask for it on",
            )
            .next("Give --yes to go on without being asked."));
        }
        let _ = write!(
            io::stderr().lock(),
            "{}. This is final.\nType the {} to go on: ",
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
