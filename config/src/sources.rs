//! Loads the settings from a file and the environment.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    catalogue,
    error::SettingsError,
    layers::{Mismatch, Node, Value, is_setting, is_vault_name, lacks_separator, misspelled},
    origin::Origin,
    settings::{Document, EnvironmentFacts, Kms, MasterKeySource, Settings, VaultAuth, VaultToken},
};

/// The settings file and the environment, passed in so that tests need neither.
///
/// Has no `Debug`, because environment variables may contain secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// The settings file, which must exist. `None` uses the environment and defaults only.
    pub file: Option<PathBuf>,
    /// Environment variables by name. Names that are not settings are ignored.
    pub environment: BTreeMap<String, String>,
}

impl Sources {
    /// The file named on the command line, else by `KEYSIDE_CONFIG`, else `./keyside.toml` if it
    /// exists; and the variables of this process that are settings. Of `KMS_MASTER_KEY` and
    /// `VAULT_TOKEN`, only whether they are set; of variables that may be misspelled settings, only
    /// the names.
    pub fn from_process(cli_path: Option<PathBuf>) -> Self {
        let named = || {
            env::var_os("KEYSIDE_CONFIG")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        };
        let usual = || Some(PathBuf::from("keyside.toml")).filter(|path| path.exists());
        let variable = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok()?;
            match name.as_str() {
                MASTER_KEY | VAULT_TOKEN => (!value.is_empty()).then(|| (name, "set".to_owned())),
                other if lacks_separator(other) => Some((name, String::new())),
                setting => {
                    is_setting(setting).then(|| (name, value.to_string_lossy().into_owned()))
                }
            }
        };
        Self {
            file: cli_path.or_else(named).or_else(usual),
            environment: env::vars_os().filter_map(variable).collect(),
        }
    }

    /// The layers above the defaults, merged.
    fn written(&self) -> Result<Node, SettingsError> {
        let mut written = Node::vault_environment(&self.environment);
        if let Some(path) = &self.file {
            written.merge(document(path)?);
        }
        written.merge(Node::environment(&self.environment));
        Ok(written)
    }

    /// The variables that would be settings if they had two underscores. Ignoring one could leave a
    /// listener without the pin that its name promises.
    fn misspelled(&self) -> Vec<SettingsError> {
        let names = self.environment.keys();
        let names: Vec<_> = names.filter(|name| lacks_separator(name)).collect();
        if names.is_empty() {
            return Vec::new();
        }
        let tree = over_defaults(&Node::table(Origin::Default));
        let keys = tree.leaves().into_iter().map(|(key, _)| key);
        let providers = tree.get(PROVIDERS).into_iter().flat_map(Node::entries);
        let of_providers =
            providers.flat_map(|(id, _)| OF_PROVIDERS.map(|key| format!("{PROVIDERS}.{id}.{key}")));
        let keys = keys
            .chain(WITHOUT_DEFAULT.map(str::to_owned))
            .chain(of_providers);
        let meant: BTreeMap<_, _> = keys.map(|key| misspelled(&key)).collect();
        let wrong = |name: &String| {
            Some(SettingsError::SingleUnderscores {
                variable: name.clone(),
                meant: meant.get(name)?.clone(),
            })
        };
        names.into_iter().filter_map(wrong).collect()
    }

    /// Whether a variable that contains a secret is set.
    fn holds(&self, name: &str) -> bool {
        let value = self.environment.get(name);
        value.is_some_and(|value| !value.is_empty())
    }
}

/// Settings, and the origin of each.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Every setting in effect, sorted by key. Of `providers`, only those that are not built in.
    pub effective: Vec<EffectiveSetting>,
}

/// One line of the output of `keyside check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// The full key: `proxy.deadlines.drain`.
    pub key: String,
    /// The value in TOML notation.
    pub value: String,
    /// Which layer set it.
    pub origin: Origin,
}

impl Settings {
    /// Loads and merges the layers: the environment over the file over the defaults.
    ///
    /// # Errors
    /// Variables with single underscores; else all unknown keys and all values of a wrong type or
    /// form, with their origins; if there are none, the first contradiction.
    pub fn load(sources: &Sources) -> Result<Loaded, SettingsError> {
        let mut misspelled = sources.misspelled();
        match misspelled.len() {
            0 => {}
            1 => return Err(misspelled.remove(0)),
            _ => return Err(SettingsError::Several(misspelled)),
        }
        let written = sources.written()?;
        let tree = over_defaults(&written);
        let wrong = |mismatch| SettingsError::new(mismatch, &tree);
        let read = tree.clone().read::<Document>();
        let document = read.map_err(|first| all_mismatches(written, first))?;
        let facts = EnvironmentFacts {
            master_key_in_variable: sources.holds(MASTER_KEY),
            vault_token_in_variable: sources.holds(VAULT_TOKEN),
            vault_is_set: vault_is_set(&tree),
        };
        let mut settings = document.build(facts).map_err(wrong)?;
        for (index, webhook) in settings.webhooks.iter_mut().enumerate() {
            webhook.origin = tree.origin_of(&format!("webhook[{index}]")).clone();
        }
        let effective = effective(&tree, &settings);
        Ok(Loaded {
            settings,
            effective,
        })
    }
}

/// All layers, merged.
fn over_defaults(written: &Node) -> Node {
    let mut tree = Node::defaults();
    tree.insert(PROVIDERS, catalogue::layer(written.get(PROVIDERS)));
    tree.merge(written.clone());
    tree
}

/// The errors in what was written, from the first on: each is removed, so that its default applies,
/// and the rest is read again.
fn all_mismatches(mut written: Node, first: Mismatch) -> SettingsError {
    let (mut keys, mut errors) = (Vec::<String>::new(), Vec::new());
    let mut next = Some(first);
    while let Some(mismatch) = next {
        let key = mismatch.key.clone();
        // A table without what was removed from it is no other fault.
        let is_known = keys
            .iter()
            .any(|known| *known == key || table(known) == key);
        if !is_known {
            errors.push(SettingsError::new(mismatch, &over_defaults(&written)));
        }
        next = match written.remove(&key) {
            Some(()) if errors.len() < MOST_ERRORS => {
                over_defaults(&written).read::<Document>().err()
            }
            _ => None,
        };
        keys.push(key);
    }
    match errors.len() {
        1 => errors.remove(0),
        _ => SettingsError::Several(errors),
    }
}

/// The table of a dotted key.
fn table(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(table, _)| table)
}

/// Whether a setting of `[vault]` comes from the file or from a `KEYSIDE_` variable. `VAULT_ADDR`
/// and similar names do not count: they may be set for other programs.
fn vault_is_set(tree: &Node) -> bool {
    let leaves = tree.get("vault").map(Node::leaves).unwrap_or_default();
    let ours = |origin: &Origin| *origin != Origin::Default && !is_vault_name(origin);
    leaves.iter().any(|(_, leaf)| ours(&leaf.origin))
}

fn document(path: &Path) -> Result<Node, SettingsError> {
    let text = read_named(path).map_err(|source| SettingsError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    Node::file(path, &text)
}

/// Reads a file that the person who starts Keyside has named, and that may be a pipe.
fn read_named(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(MAX_LEN + 1)
        .read_to_string(&mut text)?;
    match read as u64 > MAX_LEN {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(text),
    }
}

/// The leaves of the tree, and derived values of settings that are not set.
fn effective(tree: &Node, settings: &Settings) -> Vec<EffectiveSetting> {
    let leaves = tree.leaves().into_iter();
    let chosen = leaves
        .filter(|(key, leaf)| leaf.origin != Origin::Default || !key.starts_with("providers."));
    let mut effective: Vec<_> = chosen
        .map(|(key, leaf)| EffectiveSetting {
            key,
            value: leaf.value.to_string(),
            origin: leaf.origin.clone(),
        })
        .collect();
    for follows in derived(settings) {
        if !effective.iter().any(|setting| setting.key == follows.key) {
            effective.push(follows);
        }
    }
    effective.sort_by(|a, b| a.key.cmp(&b.key));
    effective
}

fn derived(settings: &Settings) -> Vec<EffectiveSetting> {
    let default = |key, value: &str| EffectiveSetting::new(key, value, Origin::Default);
    let secret = |key, variable: &str| {
        EffectiveSetting::new(key, "set, not shown", Origin::Variable(variable.into()))
    };
    let mut derived = vec![default("admin.public_url", &settings.admin.public_url)];
    let vault = settings.vault.as_ref();
    if vault.is_some_and(|vault| vault.auth == VaultAuth::Token(VaultToken::Variable)) {
        derived.push(secret("vault.token", VAULT_TOKEN));
    }
    match &settings.kms {
        Kms::Local(local) => derived.push(match &local.master_key {
            MasterKeySource::EnvironmentVariable => secret("kms.master_key", MASTER_KEY),
            MasterKeySource::File(path) | MasterKeySource::Generated(path) => {
                default("kms.master_key_file", &path.to_string_lossy())
            }
        }),
        Kms::Vault(transit) => derived.extend([
            default("kms.mount", &transit.mount),
            default("kms.key_prefix", &transit.key_prefix),
        ]),
        Kms::Aws | Kms::Azure | Kms::Gcp => {}
    }
    derived
}

impl EffectiveSetting {
    fn new(key: &str, value: &str, origin: Origin) -> Self {
        Self {
            key: key.to_owned(),
            value: Value::String(value.to_owned()).to_string(),
            origin,
        }
    }
}

/// The variable that may contain the master key itself. Its value never enters the settings.
const MASTER_KEY: &str = "KMS_MASTER_KEY";

/// The variable that may contain a Vault token. Its value never enters the settings.
const VAULT_TOKEN: &str = "VAULT_TOKEN";

/// The key of the catalogue's table.
const PROVIDERS: &str = "providers";

/// Settings that [`Node::defaults`] does not have.
const WITHOUT_DEFAULT: [&str; 29] = [
    "admin.public_url",
    "admin.tls.certificate_file",
    "admin.tls.key_file",
    "egress.ca_file",
    "egress.credentials_file",
    "kms.key_prefix",
    "kms.master_key_file",
    "kms.mount",
    "kms.previous_master_key_file",
    "observe.tls.certificate_file",
    "observe.tls.key_file",
    "vault.address",
    "vault.auth",
    "vault.auth_mount",
    "vault.ca_file",
    "vault.ca_path",
    "vault.cache",
    "vault.cache_key_file",
    "vault.client_certificate",
    "vault.client_key",
    "vault.jwt_file",
    "vault.namespace",
    "vault.proxy",
    "vault.role",
    "vault.role_id",
    "vault.secret_id_file",
    "vault.secret_id_wrapped",
    "vault.tls_server_name",
    "vault.token_file",
];

/// Settings that a provider's file may not have.
const OF_PROVIDERS: [&str; 5] = [
    "allow",
    "allow_plaintext",
    "allow_private",
    "base_url",
    "egress",
];

/// As many errors as are reported at once.
const MOST_ERRORS: usize = 20;

/// The longest settings file, in bytes: enough for thousands of credentials.
const MAX_LEN: u64 = 16 << 20;

#[cfg(test)]
mod tests;
