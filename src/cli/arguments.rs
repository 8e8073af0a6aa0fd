//! Reads the arguments. What does not fit is refused without repeating it where it may be a pasted key.

use std::{error::Error, ffi::OsString, process::ExitCode};

use clap::{
    Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{Cli, Failure};

/// The arguments, or the exit code when all has been said already: help, the version, a mistake.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let mut error = match Cli::try_parse_from(arguments) {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    if is_stray_value(&error) {
        let failure = stray_value();
        failure.print();
        return Err(failure.exit_code());
    }
    if hide_values(&mut error) {
        let failure = unfit_value(&error);
        failure.print();
        return Err(failure.exit_code());
    }
    // Help and version go to standard output with code 0, mistakes to standard error with code 2.
    let _ = error.print();
    Err(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)))
}

/// A value where only options stand: most often the key itself, after `key add`.
pub(super) fn is_stray_value(error: &clap::Error) -> bool {
    let argument = error.get(ContextKind::InvalidArg);
    error.kind() == ErrorKind::UnknownArgument
        && matches!(argument, Some(ContextValue::String(text)) if !text.starts_with('-'))
}

pub(super) fn stray_value() -> Failure {
    Failure::usage("expected only options here, found a value (not repeated, in case it is a secret)").next(
        "A secret comes from --secret-file, --stdin or a prompt. If a key was on the command line, it is in the \
         shell's history now: replace it.",
    )
}

/// Removes the user's own values from the error: a key may be anywhere on a command line. Says whether the reason repeats it too,
/// which clap does not let us change.
pub(super) fn hide_values(error: &mut clap::Error) -> bool {
    let reason = error.source().map(ToString::to_string);
    let mut is_repeated = false;
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        let given = match error.get(kind) {
            // Empty: a value is missing, and clap says so.
            Some(ContextValue::String(given)) if !given.is_empty() => given.clone(),
            _ => continue,
        };
        // The name of a command that lacks one of its own.
        if error.kind() == ErrorKind::MissingSubcommand {
            continue;
        }
        is_repeated |= reason
            .as_ref()
            .is_some_and(|reason| reason.contains(&given));
        error.insert(kind, ContextValue::String(NOT_REPEATED.to_owned()));
    }
    is_repeated
}

/// A value that the reason why it does not fit repeats.
pub(super) fn unfit_value(error: &clap::Error) -> Failure {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.as_str(),
        _ => "an argument",
    };
    Failure::usage(format!("invalid value '{NOT_REPEATED}' for '{argument}'"))
        .next("See what it takes with --help.")
}

/// Printed in place of the user's value.
const NOT_REPEATED: &str = "(not repeated, in case it is a secret)";

/// clap's own consistency checks, which it only makes in a debug build.
#[cfg(test)]
pub(super) fn assert_consistent() {
    <Cli as clap::CommandFactory>::command().debug_assert();
}
