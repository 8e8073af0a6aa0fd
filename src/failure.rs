//! How a command fails: what was expected, what was found, the next step, and an exit code.

use std::{
    fmt::{self, Display},
    io::{IsTerminal, Write},
    process::ExitCode,
};

use keyside_config::SettingsError;

use crate::{client::ClientError, terminal::colour_wanted};

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    class: Class,
    message: String,
    next: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Failed,
    Usage,
    Configuration,
}

impl Failure {
    /// Something went wrong that trying again, or mending the surroundings, may help. Exit code 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Class::Failed, message)
    }

    /// The arguments do not make sense together. Exit code 2, the same as clap's own.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Class::Usage, message)
    }

    /// The settings, or what they point at, have to be changed. Exit code 78, `EX_CONFIG` of sysexits.h: service
    /// managers are told not to restart on it.
    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::new(Class::Configuration, message)
    }

    /// Says what to do about it.
    #[must_use]
    pub(crate) fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.class {
            Class::Failed => 1,
            Class::Usage => 2,
            Class::Configuration => 78,
        })
    }

    /// Prints it on standard error. If even that is closed there is nobody left to tell.
    pub(crate) fn print(&self) {
        let mut stderr = std::io::stderr().lock();
        let colour = stderr.is_terminal() && colour_wanted();
        let label = if colour {
            "\x1b[1;31merror:\x1b[0m"
        } else {
            "error:"
        };
        let _ = writeln!(stderr, "{label} {self}");
    }

    fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
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
        Self::configuration(error.to_string()).next(
            "Correct it there; `keyside check` validates the settings without starting anything.",
        )
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let next = error.next_step();
        let failure = match error {
            ClientError::InvalidAddress => Self::usage(error.to_string()),
            _ => Self::failed(error.to_string()),
        };
        failure.next(next)
    }
}

/// The surroundings have to change; trying again may help. These errors name
/// their remedy themselves.
pub(crate) fn failed(error: impl Display) -> Failure {
    Failure::failed(error.to_string())
}

/// The settings, or what they point at, have to change.
pub(crate) fn misconfigured(error: impl Display) -> Failure {
    Failure::configuration(error.to_string())
}
