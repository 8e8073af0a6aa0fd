//! Parses the arguments. An invalid argument is refused without repeating it, because it may be a
//! pasted key.

use std::{error::Error, ffi::OsString, process::ExitCode};

use clap::{
    Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{Cli, Failure};

/// Returns the parsed arguments, or the exit code if help, a version or an error was printed.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let mut error = match Cli::try_parse_from(arguments) {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    if is_stray_value(&error) {
        return Err(stray_value().print());
    }
    if let Some(failure) = misplaced_option(&error) {
        return Err(failure.print());
    }
    if hide_values(&mut error) {
        return Err(invalid_value(&error).print());
    }
    // Help and version go to standard output with code 0, mistakes to standard error with code 2.
    let _ = error.print();
    Err(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)))
}

/// Whether a value was given where only options are allowed: most often the key itself, after `key
/// add`.
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

/// The failure for an option of commands that use a running Keyside, in front of the command or with
/// one that uses none.
pub(super) fn misplaced_option(error: &clap::Error) -> Option<Failure> {
    let argument = error.get(ContextKind::InvalidArg);
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(option))) = (error.kind(), argument)
    else {
        return None;
    };
    let known = ["--admin-url", "--token-file", "--ca-file"];
    let option = known.into_iter().find(|known| option == known)?;
    let found = Failure::usage(format!("unexpected argument '{option}' found"));
    Some(
        found.next(
            "It goes after a command that uses a running Keyside, such as `keyside key list`.",
        ),
    )
}

/// Removes the user's values from the error, because any of them may be a key. Returns whether the
/// error's reason repeats one too, which clap does not let us change.
pub(super) fn hide_values(error: &mut clap::Error) -> bool {
    let reason = error.source().map(ToString::to_string);
    let mut is_repeated = false;
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        let given = match error.get(kind) {
            // An empty value means that one is missing, which clap reports.
            Some(ContextValue::String(given)) if !given.is_empty() => given.clone(),
            _ => continue,
        };
        // This is the name of a command that lacks a subcommand, not a value of the user's.
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

/// The failure for an invalid value that clap's own reason would repeat.
pub(super) fn invalid_value(error: &clap::Error) -> Failure {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.as_str(),
        _ => "an argument",
    };
    Failure::usage(format!("invalid value '{NOT_REPEATED}' for '{argument}'"))
        .next("See what it takes with --help.")
}

/// Printed instead of the user's value.
const NOT_REPEATED: &str = "(not repeated, in case it is a secret)";

/// clap's own consistency checks, which it makes only in a debug build.
#[cfg(test)]
pub(super) fn assert_consistent() {
    <Cli as clap::CommandFactory>::command().debug_assert();
}
