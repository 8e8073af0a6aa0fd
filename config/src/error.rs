//! What can be wrong with settings, said so that the reader knows where to go and what to write.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
};

use crate::{
    layers::{Fault, Mismatch, Node},
    likeness::{NEAR, likeness},
    origin::Origin,
};

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

impl SettingsError {
    /// Tells what does not fit in `tree`.
    pub(crate) fn new(mismatch: Mismatch, tree: &Node) -> Self {
        let Mismatch { key, origin, fault } = mismatch;
        let origin = origin.unwrap_or_else(|| tree.origin_of(&key).clone());
        // A quoted key may hold anything; it must not break the line that it is shown in.
        let key = key.escape_debug().to_string();
        match fault {
            Fault::Unknown { name, known } => {
                let name = name.escape_debug().to_string();
                let table = key.strip_suffix(&name).unwrap_or_default();
                let nearest = nearest_key(table, &name, known);
                Self::UnknownKey {
                    origin,
                    key,
                    nearest,
                }
            }
            Fault::Reason(reason) => Self::Invalid {
                origin,
                key,
                reason,
            },
        }
    }
}

/// A path as it may be shown: what does not look like one may be a secret in the wrong place.
fn named(path: &Path) -> Cow<'_, str> {
    let shown = path.to_string_lossy();
    match shown.contains('/') || shown.ends_with(".toml") {
        true => shown,
        false => Cow::Borrowed("that --config or KEYSIDE_CONFIG names"),
    }
}

/// A key of the same table, unless that is far off and another table has one that is near.
fn nearest_key(table: &str, name: &str, known: &[&str]) -> String {
    let defaults = Node::defaults();
    let here = known
        .iter()
        .map(|known| (format!("{table}{known}"), likeness(name, known)));
    let elsewhere = defaults.leaves().into_iter().filter_map(|(key, _)| {
        let likeness = likeness(name, key.rsplit('.').next()?);
        (likeness >= NEAR).then_some((key, likeness - ELSEWHERE))
    });
    let candidates = here.chain(elsewhere);
    candidates
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(key, _)| key)
        .unwrap_or_default()
}

/// How much less likely a key of another table is.
const ELSEWHERE: f64 = 0.3;
