//! The origin of a setting.

use std::{fmt, path::Path, sync::Arc};

/// Which layer set a value, precise enough to find and change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// A line of the settings file.
    File {
        /// The file, as it was named.
        path: Arc<Path>,
        /// Line number, from 1.
        line: usize,
    },
    /// An environment variable, by name.
    Variable(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}
