//! What can be wrong with settings, said so that the reader knows where to go and what to write.

use std::{io, path::PathBuf};

use crate::Origin;

/// Why settings could not be loaded. No variant holds a value from the environment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the settings file {}: {source}", path.display())]
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
    #[error("{origin}: unknown key `{key}`{}", nearest.as_ref().map(|near| format!(", did you mean `{near}`?")).unwrap_or_default())]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// Its full name.
        key: String,
        /// The known key that is most like it.
        nearest: Option<String>,
    },
    /// A value of the wrong type or form.
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
