//! Why a secret cannot be read, with its path and the remedy. Messages may contain names of fields,
//! never values.

use keyside_credentials::source::VaultReference;

use super::fields::MissingField;
use crate::{error::single_line, mounts::Mount};

/// Why a secret cannot be read, according to Vault's response.
pub(super) enum Refusal<'a> {
    /// 403, although the token is valid.
    Forbidden,
    /// The path has no secret and no metadata.
    Nothing,
    /// The version no longer exists.
    Gone(VersionGone),
    /// The field is missing or unusable.
    Field(&'a MissingField),
    /// A version is requested in a KV engine of version 1.
    NoVersions,
}

/// How a version was removed.
pub(super) enum VersionGone {
    /// Deleted: can be restored.
    Deleted(u64),
    /// Destroyed: cannot be restored.
    Destroyed(u64),
}

impl Refusal<'_> {
    pub(super) fn explain(&self, mount: &Mount, path: &str, reference: &VaultReference) -> String {
        let shown = single_line(&format!("{}/{path}", mount.path));
        match self {
            Self::Forbidden if path.starts_with(API_PART) => format!(
                "Vault does not allow Keyside's token to read {shown}; leave out `{API_PART}`, which only the API of KV version 2 \
                 has in its paths"
            ),
            Self::Forbidden => format!(
                "Vault does not allow Keyside's token to read {shown}; its policy needs: {}",
                policy(mount, path)
            ),
            Self::Nothing => match reference.version {
                Some(version) => {
                    format!(
                        "there is no version {version} of {shown} in Vault; check version and path"
                    )
                }
                None if path.starts_with(API_PART) => format!(
                    "there is no secret at {shown} in Vault; leave out `{API_PART}`, which only the API of KV version 2 has in \
                     its paths"
                ),
                None => format!(
                    "there is no secret at {shown} in Vault; check path and vault.namespace"
                ),
            },
            Self::Gone(VersionGone::Deleted(version)) => format!(
                "version {version} of {shown} was deleted in Vault; restore it with `vault kv undelete`, or write a new one"
            ),
            Self::Gone(VersionGone::Destroyed(version)) => {
                format!("version {version} of {shown} was destroyed in Vault; write a new one")
            }
            Self::Field(missing) => format!(
                "field `{}` of {shown} in Vault {}",
                single_line(&reference.field),
                wrong(missing)
            ),
            Self::NoVersions => format!(
                "{shown} is in a KV engine of version 1, which keeps no versions; leave `version` out"
            ),
        }
    }
}

/// The path segment that people copy from API requests.
const API_PART: &str = "data/";

/// The message for a path without a known mount.
pub(super) fn no_mount(path: &str) -> String {
    let path = single_line(path);
    format!(
        "Vault does not reveal the KV mount of {path}: nothing is mounted there, or the policy of Keyside's token names no path in it. Check \
         path, vault.namespace and policy, or set `mount` beside the path"
    )
}

/// The message for an answer that is older than an earlier one.
pub(super) fn behind(reference: &VaultReference, found: u64, newest: &str) -> String {
    format!(
        "{reference}: Vault answered with version {found}, and with version {newest} before; a standby that is behind catches up \
         by itself, and if Vault was restored from a snapshot, Keyside uses this version after a minute"
    )
}

pub(super) fn invalid_path(path: &str) -> String {
    format!(
        "`{}` is not the path of a secret in Vault; expected a mount and a name, such as kv/teams/acme/openai",
        single_line(path)
    )
}

fn wrong(missing: &MissingField) -> String {
    match missing {
        MissingField::Empty => "is empty; write the key into it".to_owned(),
        MissingField::NoText(kind) => format!("is {kind}; a key is a string"),
        MissingField::Field { existing } if existing.is_empty() => {
            "does not exist; the secret has no fields".to_owned()
        }
        MissingField::Field { existing } => {
            let names: Vec<_> = existing
                .iter()
                .take(MAX_FIELD_NAMES)
                .map(|name| single_line(name))
                .collect();
            format!("does not exist; these do: {}", names.join(", "))
        }
    }
}

/// The policy line that would permit the request.
fn policy(mount: &Mount, path: &str) -> String {
    format!(
        "path \"{}\" {{ capabilities = [\"read\"] }}",
        single_line(&mount.data_path(path))
    )
}

/// Maximum number of field names in a message.
const MAX_FIELD_NAMES: usize = 20;
