//! Settings of the KMS: one variant per driver, so that no driver gets the settings of another.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::Deserialize;

use crate::{
    layers::Mismatch,
    parsed::{self, from_text},
};

/// The KMS that wraps the workspace keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kms {
    /// A 32-byte key on this machine.
    Local(LocalKms),
    /// AWS KMS.
    Aws,
    /// Azure Key Vault.
    Azure,
    /// Google Cloud KMS.
    Gcp,
    /// The Transit engine of HashiCorp Vault or OpenBao.
    Vault(TransitKms),
}

/// Settings of the `local` driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalKms {
    /// The source of the 32-byte key.
    pub master_key: MasterKeySource,
    /// The previous key, needed as long as it wraps a workspace key
    /// (`kms.previous_master_key_file`).
    pub previous_master_key: Option<PathBuf>,
}

/// The source of the `local` driver's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKeySource {
    /// A file that the operator configured (`kms.master_key_file`, `KMS_MASTER_KEY_FILE`).
    File(PathBuf),
    /// The variable `KMS_MASTER_KEY` itself. Its value is read where it is used, never here.
    EnvironmentVariable,
    /// Nothing is configured: `<store.path>.master-key`, generated at the first start.
    Generated(PathBuf),
}

/// Settings of the `vault` driver. The address of Vault and the sign-in are not part of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitKms {
    /// The mount of the Transit engine, without slashes at its ends.
    pub mount: String,
    /// Prefix of the names of this installation's Transit keys. A workspace's id follows.
    pub key_prefix: String,
}

/// `[kms]` as written in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KmsDocument {
    driver: Driver,
    #[serde(default, deserialize_with = "parsed::some_path")]
    master_key_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "parsed::some_path")]
    previous_master_key_file: Option<PathBuf>,
    mount: Option<Mount>,
    key_prefix: Option<KeyPrefix>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Driver {
    Local,
    Aws,
    Azure,
    Gcp,
    Vault,
}

impl KmsDocument {
    /// `store` is the data folder; `in_variable` tells whether `KMS_MASTER_KEY` is set.
    pub(super) fn build(self, store: &Path, in_variable: bool) -> Result<Kms, Mismatch> {
        self.reject_other_drivers(in_variable)?;
        Ok(match self.driver {
            Driver::Local => Kms::Local(LocalKms {
                master_key: master_key(self.master_key_file, store, in_variable)?,
                previous_master_key: self.previous_master_key_file,
            }),
            Driver::Aws => Kms::Aws,
            Driver::Azure => Kms::Azure,
            Driver::Gcp => Kms::Gcp,
            Driver::Vault => Kms::Vault(TransitKms {
                mount: self
                    .mount
                    .map_or_else(|| "transit".to_owned(), |mount| mount.0),
                key_prefix: self
                    .key_prefix
                    .map_or_else(|| "keyside-".to_owned(), |prefix| prefix.0),
            }),
        })
    }

    /// Refuses settings of other drivers: they would have no effect, although their author relies
    /// on them.
    fn reject_other_drivers(&self, in_variable: bool) -> Result<(), Mismatch> {
        let file = self.master_key_file.is_some();
        let previous = self.previous_master_key_file.is_some();
        let given = [
            ("kms.master_key_file", Driver::Local, file),
            ("kms.previous_master_key_file", Driver::Local, previous),
            ("kms.mount", Driver::Vault, self.mount.is_some()),
            ("kms.key_prefix", Driver::Vault, self.key_prefix.is_some()),
        ];
        let is_foreign = |(_, of, is_set): &&(_, Driver, bool)| *is_set && *of != self.driver;
        if let Some((key, of, _)) = given.iter().find(is_foreign) {
            let (of, driver) = (of.name(), self.driver.name());
            return Err(Mismatch::new(
                *key,
                format!(
                    "it belongs to kms.driver = \"{of}\", and the driver is \"{driver}\"; remove one of the two"
                ),
            ));
        }
        match in_variable && self.driver != Driver::Local {
            true => Err(Mismatch::new(
                "kms.driver",
                "KMS_MASTER_KEY is set too, which only the driver \"local\" reads; keep one of the two",
            )),
            false => Ok(()),
        }
    }
}

impl Driver {
    fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Vault => "vault",
        }
    }
}

fn master_key(
    file: Option<PathBuf>,
    store: &Path,
    in_variable: bool,
) -> Result<MasterKeySource, Mismatch> {
    match (file, in_variable) {
        (Some(_), true) => Err(Mismatch::new(
            "kms.master_key_file",
            "KMS_MASTER_KEY is set too; keep one of the two",
        )),
        (Some(file), false) => Ok(MasterKeySource::File(file)),
        (None, true) => Ok(MasterKeySource::EnvironmentVariable),
        (None, false) => Ok(MasterKeySource::Generated(default_master_key_path(store))),
    }
}

/// The path of the generated key: `data.master-key`, for both `data` and `data/`.
fn default_master_key_path(store: &Path) -> PathBuf {
    let mut file = store.components().as_path().as_os_str().to_owned();
    file.push(".master-key");
    file.into()
}

/// The mount becomes part of request paths, so characters that could change the path are refused.
struct Mount(String);

from_text!(Mount, KeyPrefix);

impl FromStr for Mount {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let is_name = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_alphanumeric())
                && part.bytes().all(is_in_names)
        };
        match text.split('/').all(is_name) {
            true => Ok(Self(text.to_owned())),
            false => Err(
                "expected the path of a Transit mount, such as \"transit\" or \"team/transit\", without a slash at either end",
            ),
        }
    }
}

/// Vault allows letters, digits, `_`, `-` and `.` in a key's name, but neither `-` nor `.` at its
/// ends.
struct KeyPrefix(String);

impl FromStr for KeyPrefix {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        match begins && text.len() <= 64 && text.bytes().all(is_in_names) {
            true => Ok(Self(text.to_owned())),
            false => Err(
                "expected 1 to 64 letters, digits, _, - or ., starting with a letter or digit, such as \"keyside-\"",
            ),
        }
    }
}

fn is_in_names(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_must_not_change_the_request_path() {
        for good in ["transit", "team/transit", "a.b/c_d-e", "1"] {
            assert!(good.parse::<Mount>().is_ok(), "{good}");
        }
        for bad in [
            "", "/transit", "transit/", "a//b", "../sys", "a/../b", "a?b", "a b", "a%2fb",
        ] {
            assert!(bad.parse::<Mount>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_the_start_of_a_transit_keys_name() {
        for good in ["keyside-", "k", "Team_1.keyside-"] {
            assert!(good.parse::<KeyPrefix>().is_ok(), "{good}");
        }
        for bad in ["", "-keyside", "a/b", "a b", "é", &"a".repeat(65)] {
            assert!(bad.parse::<KeyPrefix>().is_err(), "{bad}");
        }
    }
}
