//! Where settings are read from, and what came of it.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{Origin, Settings, SettingsError};

/// The file and the environment, passed in so that a test needs neither.
#[derive(Clone, Default)]
pub struct Sources {
    /// The settings file; it must exist. Without one, everything not in the environment is the default.
    pub file: Option<PathBuf>,
    /// Environment variables by name. Names that are no setting's are left alone.
    pub environment: BTreeMap<String, String>,
}

impl Sources {
    /// The file named on the command line, else by `KEYSIDE_CONFIG`, else `./keyside.toml` if it is there;
    /// and the variables of this process that are settings.
    pub fn from_process(cli_path: Option<PathBuf>) -> Self {
        Self {
            file: cli_path,
            environment: std::env::vars().collect(),
        }
    }
}

/// Settings, and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Every setting in effect, in order of its key. Of `providers`, only what is not built in.
    pub effective: Vec<EffectiveSetting>,
}

/// One line of what `keyside check` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// The full key: `proxy.deadlines.drain`.
    pub key: String,
    /// The value in TOML notation.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

impl Settings {
    /// Reads the layers, defaults under the file under the environment.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn load(_sources: &Sources) -> Result<Loaded, SettingsError> {
        todo!()
    }
}
