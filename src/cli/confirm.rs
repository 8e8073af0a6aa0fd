//! What cannot be undone is asked for by name.

use std::io::{self, IsTerminal, Write};

use super::Failure;

/// Has the person type `word` (the `what` of it) before something final is done.
pub(super) fn confirm(about: &str, what: &str, word: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(
            Failure::usage("expected a confirmation, found no terminal to ask for it on")
                .next("Give --yes to go on without being asked."),
        );
    }
    let _ = write!(
        io::stderr().lock(),
        "{about}. This is final.\nType the {what} to go on: "
    );
    let mut typed = String::new();
    let read = io::stdin().read_line(&mut typed);
    match read.is_ok() && typed.trim_end_matches(['\r', '\n']) == word {
        true => Ok(()),
        false => Err(Failure::failed(format!(
            "expected the {what}, found something else: nothing was changed"
        ))),
    }
}
