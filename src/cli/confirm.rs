//! What cannot be undone is asked for by name.

use std::io::{self, IsTerminal, Write};

use super::Failure;

/// Something that will not come back.
pub(crate) struct Final<'a> {
    /// What is about to happen, as a sentence without its end.
    pub(crate) about_to: String,
    /// What has to be typed, and what that is.
    pub(crate) name: &'a str,
    pub(crate) called: &'static str,
    /// What was not done if it was not.
    pub(crate) otherwise: &'static str,
}

impl Final<'_> {
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
            self.about_to,
            self.called
        );
        let mut typed = String::new();
        let read = io::stdin().read_line(&mut typed);
        match read.is_ok() && typed.trim_end_matches(['\r', '\n']) == self.name {
            true => Ok(()),
            false => Err(Failure::failed(format!(
                "expected the {}, found something else: {}",
                self.called, self.otherwise
            ))),
        }
    }
}
