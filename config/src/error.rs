//! What can be wrong with settings, said so that the reader knows where to go and what to write.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
};

use crate::origin::Origin;

/// Why settings could not be loaded. No variant holds a value from the environment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the settings file {}: {source}", named(path))]
    Unreadable {
        /// The file, as it was named.
        path: PathBuf,
        /// Why.
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
    /// A key that means nothing.
    #[error("{origin}: unknown key `{key}`; the nearest known one is `{nearest}`")]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// Its full name.
        key: String,
        /// The known key that is most like it.
        nearest: String,
    },
    /// A value of the wrong type or form, or one that does not go with another.
    #[error("{origin}: `{key}`: {reason}")]
    Invalid {
        /// Where it stands.
        origin: Origin,
        /// Its full name.
        key: String,
        /// What was expected.
        reason: String,
    },
}

/// A path as it may be shown: what does not look like one may be a secret in the wrong place.
fn named(path: &Path) -> Cow<'_, str> {
    let shown = path.to_string_lossy();
    match shown.contains('/') || shown.ends_with(".toml") {
        true => shown,
        false => Cow::Borrowed("that --config or KEYSIDE_CONFIG names"),
    }
}
