//! The failure of a command: what was expected, what was found, the next step, and an exit code.

use std::{
    fmt::{self, Display},
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use keyside_config::SettingsError;

use crate::{client::ClientError, terminal::colour_wanted};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit_code: u8,
    message: String,
    next: Option<String>,
}

impl Failure {
    /// A failure that a retry, or a change outside of the settings, may end. Exit code 1.
    pub(crate) fn failed(message: impl Display) -> Self {
        Self::new(1, message)
    }

    /// Arguments that do not fit together. Exit code 2, the same as clap's.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(2, message)
    }

    /// The command is right, and nothing is configured for it. Exit code 3.
    pub(crate) fn nothing_to_check(message: impl Display) -> Self {
        Self::new(3, message)
    }

    /// The settings, or what they refer to, must be changed. Exit code 78 (`EX_CONFIG` of
    /// sysexits.h), on which service managers do not restart.
    pub(crate) fn configuration(message: impl Display) -> Self {
        Self::new(78, message)
    }

    #[must_use]
    pub(crate) fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        self.exit_code.into()
    }

    /// Prints the failure on standard error, and returns the exit code. Ignores a closed standard
    /// error.
    pub(crate) fn print(&self) -> ExitCode {
        let mut stderr = io::stderr().lock();
        let label = match stderr.is_terminal() && colour_wanted() {
            true => "\x1b[1;31merror:\x1b[0m",
            false => "error:",
        };
        let _ = writeln!(stderr, "{label} {self}");
        self.exit_code()
    }

    fn new(exit_code: u8, message: impl Display) -> Self {
        Self {
            exit_code,
            message: message.to_string(),
            next: None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.next {
            Some(step) => write!(f, "\n  next: {step}"),
            None => Ok(()),
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::configuration(error).next(
            "Correct it there; `keyside check` validates the settings without starting anything.",
        )
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = match error {
            ClientError::InvalidAddress => Self::usage(&error),
            _ => Self::failed(&error),
        };
        failure.next(error.next_step())
    }
}
