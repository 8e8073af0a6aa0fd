//! Errors in settings, with the place to change and what to write there.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
};

use crate::origin::Origin;

/// Why settings could not be loaded. No variant contains a value from the environment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the settings file {}: {source}", named(path))]
    Unreadable {
        /// The file, as it was named.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1 in characters.
        column: usize,
        /// What the parser expected.
        message: String,
    },
    /// The key is unknown.
    #[error("{origin}: unknown key `{key}`; the nearest known one is `{nearest}`")]
    UnknownKey {
        /// Where the key is set.
        origin: Origin,
        /// The full key, dotted.
        key: String,
        /// The most similar known key.
        nearest: String,
    },
    /// A variable that sets nothing, because it has single underscores.
    #[error("{variable}: sets nothing; the setting's variable has two underscores: {meant}")]
    SingleUnderscores {
        /// The variable, as it was named.
        variable: String,
        /// The variable of the setting.
        meant: String,
    },
    /// The value has the wrong type or form, or contradicts another one.
    #[error("{origin}: `{key}`: {reason}")]
    Invalid {
        /// Where the value is set.
        origin: Origin,
        /// The full key, dotted.
        key: String,
        /// What was expected.
        reason: String,
    },
    /// More than one, in the order in which they were found; none of them is this variant.
    #[error("{}", lines(.0))]
    Several(Vec<SettingsError>),
}

fn lines(errors: &[SettingsError]) -> String {
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// A path for an error text. A text that does not look like a path may be a secret in the wrong
/// place, so it is not shown.
fn named(path: &Path) -> Cow<'_, str> {
    let shown = path.to_string_lossy();
    match shown.contains('/') || shown.ends_with(".toml") {
        true => shown,
        false => Cow::Borrowed("that --config or KEYSIDE_CONFIG names"),
    }
}
