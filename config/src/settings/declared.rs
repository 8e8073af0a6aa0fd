//! Credentials declared in the settings. Their secrets are read from a file or from Vault, and stay
//! there.

use std::{collections::HashSet, fmt, num::NonZeroU64, path::PathBuf, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    catalogue::Catalogue,
    layers::Mismatch,
    parsed::{self, from_text},
    provider::{ProviderId, Upstream},
    slug::Slug,
};

/// One `[[credential]]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredCredential {
    /// The workspace that may use the credential.
    pub workspace: String,
    /// The provider that it belongs to; one of the catalogue.
    pub provider: ProviderId,
    /// The label, unique within workspace and provider.
    pub label: String,
    /// Whether using it costs money.
    pub environment: DeclaredEnvironment,
    /// A free text about its use.
    pub usage_tag: Option<String>,
    /// The provider's host, for providers with a host per customer.
    pub endpoint: Option<String>,
    /// What requests may spend in a UTC day.
    pub limits: DeclaredLimits,
    /// Where its secret is.
    pub source: SourceReference,
}

/// What requests with a declared credential may spend in a UTC day; `None` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredLimits {
    /// Requests.
    #[serde(default, deserialize_with = "limit")]
    pub requests_per_day: Option<NonZeroU64>,
    /// Input and output tokens.
    #[serde(default, deserialize_with = "limit")]
    pub tokens_per_day: Option<NonZeroU64>,
}

fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NonZeroU64>, D::Error> {
    parsed::within::<_, _, 1, 1_000_000_000_000>(from).map(Some)
}

/// Whether using a declared credential costs money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeclaredEnvironment {
    /// The provider's real service.
    #[default]
    Live,
    /// A sandbox, or a key that is only for tests.
    Sandbox,
}

/// The location of a secret outside Keyside: `file:PATH` or `vault:PATH#FIELD`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SourceReference {
    /// A file that contains only the secret, and optionally a line end.
    File(PathBuf),
    /// A field of a secret in Vault or OpenBao.
    Vault(VaultReference),
}

/// A field of a secret in a KV engine of Vault. Stored with credentials in this form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "StoredReference")]
pub struct VaultReference {
    /// The engine's mount, if Vault is not to be asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// The path, including the mount.
    pub path: String,
    /// The field that holds the secret.
    pub field: String,
    /// A fixed version; `None` follows the latest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// A [`VaultReference`] that was read and is not validated yet.
#[derive(Deserialize)]
struct StoredReference {
    mount: Option<String>,
    path: String,
    field: String,
    version: Option<u64>,
}

/// Why a text is not the location of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceReferenceError {
    /// Neither `file:` nor `vault:`.
    #[error("expected file:PATH or vault:PATH#FIELD")]
    Kind,
    /// A file path that is probably a typing error, or would break a line of a log or page.
    #[error(
        "expected file:PATH with a path as the system takes it: no ~ (no shell resolves it), no space at its ends, and no control \
         character"
    )]
    File,
    /// Not a valid path in Vault.
    #[error(
        "expected vault:PATH#FIELD with a path such as kv/teams/acme/openai, without // or a slash at an end"
    )]
    Vault,
}

impl VaultReference {
    /// Refers to the secret at `path`, which includes the mount. Prepends `mount` if `path` does
    /// not begin with it.
    ///
    /// # Errors
    /// [`SourceReferenceError::Vault`] if the path is not valid, or the field has no name.
    pub fn new(
        mount: Option<&str>,
        path: &str,
        field: &str,
        version: Option<u64>,
    ) -> Result<Self, SourceReferenceError> {
        let mount = mount.map(|mount| mount.trim_matches('/'));
        let path = match mount {
            Some(mount) if !is_within(path, mount) => format!("{mount}/{path}"),
            _ => path.to_owned(),
        };
        match is_path(&path) && is_field(field) {
            true => Ok(Self {
                mount: mount.map(str::to_owned),
                path,
                field: field.to_owned(),
                version: fixed(version),
            }),
            false => Err(SourceReferenceError::Vault),
        }
    }
}

impl TryFrom<StoredReference> for VaultReference {
    type Error = SourceReferenceError;

    fn try_from(stored: StoredReference) -> Result<Self, SourceReferenceError> {
        let mount = stored.mount.as_deref();
        Self::new(mount, &stored.path, &stored.field, stored.version)
    }
}

impl FromStr for VaultReference {
    type Err = SourceReferenceError;

    /// `PATH#FIELD`.
    fn from_str(text: &str) -> Result<Self, SourceReferenceError> {
        let (path, field) = text.split_once('#').ok_or(SourceReferenceError::Vault)?;
        Self::new(None, path, field, None)
    }
}

impl fmt::Display for VaultReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vault:{}#{}", self.path, self.field)
    }
}

impl FromStr for SourceReference {
    type Err = SourceReferenceError;

    fn from_str(text: &str) -> Result<Self, SourceReferenceError> {
        match text.split_once(':') {
            Some(("file", "")) => Err(SourceReferenceError::Kind),
            Some(("file", path)) if is_file(path) => Ok(Self::File(path.into())),
            Some(("file", _)) => Err(SourceReferenceError::File),
            Some(("vault", place)) => place.parse().map(Self::Vault),
            _ => Err(SourceReferenceError::Kind),
        }
    }
}

from_text!(SourceReference);

impl fmt::Display for SourceReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Vault(reference) => reference.fmt(f),
        }
    }
}

/// In Vault's API, too, version 0 is the latest one.
fn fixed(version: Option<u64>) -> Option<u64> {
    version.filter(|version| *version > 0)
}

fn is_within(path: &str, mount: &str) -> bool {
    let rest = path.strip_prefix(mount);
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// Accepts paths that can be used in a request to Vault without escaping. A mount and a secret's
/// name are at least two segments.
fn is_path(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"%?#\\".contains(&byte);
    let is_name =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain);
    path.contains('/') && path.split('/').all(is_name)
}

/// Whether a text is a field's name. It is shown in logs and on pages.
fn is_field(field: &str) -> bool {
    !field.is_empty() && !field.contains(char::is_control)
}

fn is_file(path: &str) -> bool {
    path.trim() == path && !path.starts_with('~') && !path.contains(char::is_control)
}

/// A declared credential as written in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeclaredDocument {
    workspace: Slug,
    provider: ProviderId,
    #[serde(default = "usual_label")]
    label: String,
    #[serde(default)]
    environment: DeclaredEnvironment,
    usage_tag: Option<String>,
    endpoint: Option<String>,
    #[serde(default)]
    limits: DeclaredLimits,
    source: SourceReference,
    mount: Option<String>,
    version: Option<u64>,
}

fn usual_label() -> String {
    "default".to_owned()
}

impl DeclaredDocument {
    fn build(self, catalogue: &Catalogue) -> Result<DeclaredCredential, (&'static str, String)> {
        let provider = catalogue.expect(&self.provider);
        let provider = provider.map_err(|reason| ("provider", reason))?;
        let endpoint = match (&provider.upstream, &self.endpoint) {
            (Upstream::PerCredential(rule), Some(endpoint)) => {
                let accepted = rule.accept(endpoint).map(drop);
                accepted.map_err(|error| error.to_string())
            }
            (Upstream::PerCredential(_), None) => {
                Err("this provider needs one: the host of the resource".to_owned())
            }
            (Upstream::Fixed(_), Some(_)) => {
                Err("this provider has one host for all; remove it".to_owned())
            }
            (Upstream::Fixed(_), None) => Ok(()),
        };
        endpoint.map_err(|reason| ("endpoint", reason))?;
        let source = match (self.source, self.mount, self.version) {
            (SourceReference::Vault(reference), mount, version) => {
                let mount = mount.map(|mount| mount.trim_matches('/').to_owned());
                let is_outside = |mount: &String| !is_within(&reference.path, mount);
                if mount.as_ref().is_some_and(is_outside) {
                    let path = &reference.path;
                    let reason = format!(
                        "the path {path} does not begin with this mount; correct one of them"
                    );
                    return Err(("mount", reason));
                }
                SourceReference::Vault(VaultReference {
                    mount,
                    version: fixed(version),
                    ..reference
                })
            }
            (source, None, None) => source,
            (_, Some(_), _) => return Err(("mount", "only a source in Vault has one".into())),
            (_, _, Some(_)) => return Err(("version", "only a source in Vault has one".into())),
        };
        Ok(DeclaredCredential {
            workspace: self.workspace.0,
            provider: self.provider,
            label: self.label,
            environment: self.environment,
            usage_tag: self.usage_tag,
            endpoint: self.endpoint,
            limits: self.limits,
            source,
        })
    }
}

/// Builds all credentials, in order.
pub(super) fn build(
    documents: Vec<DeclaredDocument>,
    catalogue: &Catalogue,
) -> Result<Vec<DeclaredCredential>, Mismatch> {
    let mut names = HashSet::new();
    let mut declared = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        let wrong =
            |key: &str, reason: String| Mismatch::new(format!("credential[{index}].{key}"), reason);
        let credential = document
            .build(catalogue)
            .map_err(|(key, reason)| wrong(key, reason))?;
        let name = (
            credential.workspace.clone(),
            credential.provider.clone(),
            credential.label.clone(),
        );
        if !names.insert(name) {
            let reason = "another credential of this workspace and provider has this label";
            return Err(wrong("label", reason.into()));
        }
        declared.push(credential);
    }
    Ok(declared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_keeps_the_form_that_is_stored_with_credentials() {
        let latest = VaultReference {
            mount: None,
            path: "kv/a".to_owned(),
            field: "key".to_owned(),
            version: None,
        };
        let fixed = VaultReference {
            mount: Some("kv".to_owned()),
            version: Some(3),
            ..latest.clone()
        };
        for (reference, stored) in [
            (latest, r#"{"path":"kv/a","field":"key"}"#),
            (
                fixed,
                r#"{"mount":"kv","path":"kv/a","field":"key","version":3}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&reference).unwrap(), stored);
            let read: VaultReference = serde_json::from_str(stored).unwrap();
            assert_eq!(read, reference);
        }
    }

    #[test]
    fn version_0_is_the_latest_as_in_vault() {
        let stored = r#"{"path":"kv/a","field":"key","version":0}"#;
        let read: VaultReference = serde_json::from_str(stored).unwrap();
        assert_eq!(read.version, None);
    }

    #[test]
    fn a_stored_reference_is_validated_when_it_is_read() {
        for stored in [
            r#"{"path":"kv","field":"key"}"#,
            r#"{"path":"kv/../a","field":"key"}"#,
            r#"{"path":"kv/a?list=true","field":"key"}"#,
            r#"{"path":"kv/a","field":""}"#,
            r#"{"mount":"","path":"kv/a","field":"key"}"#,
        ] {
            let read = serde_json::from_str::<VaultReference>(stored);
            let said = read.unwrap_err().to_string();
            assert!(
                said.starts_with("expected vault:PATH#FIELD"),
                "{stored}: {said}"
            );
        }
    }

    #[test]
    fn a_source_is_a_file_or_a_field_in_vault() {
        let vault = |path: &str, field: &str| {
            Ok(SourceReference::Vault(VaultReference {
                mount: None,
                path: path.into(),
                field: field.into(),
                version: None,
            }))
        };
        for (text, expected) in [
            (
                "file:/run/secrets/openai",
                Ok(SourceReference::File("/run/secrets/openai".into())),
            ),
            (
                "vault:kv/teams/acme/openai#api_key",
                vault("kv/teams/acme/openai", "api_key"),
            ),
            (
                "file:relative/key",
                Ok(SourceReference::File("relative/key".into())),
            ),
            ("file:", Err(SourceReferenceError::Kind)),
            ("file:~/key", Err(SourceReferenceError::File)),
            ("file: /key", Err(SourceReferenceError::File)),
            ("file:/key\n", Err(SourceReferenceError::File)),
            ("file:/a\nready", Err(SourceReferenceError::File)),
            ("file:/a\0b", Err(SourceReferenceError::File)),
            ("env:OPENAI_API_KEY", Err(SourceReferenceError::Kind)),
            ("sk-proj-pasted", Err(SourceReferenceError::Kind)),
            ("vault:kv/teams/acme", Err(SourceReferenceError::Vault)),
            ("vault:kv#field", Err(SourceReferenceError::Vault)),
            ("vault:kv//a#field", Err(SourceReferenceError::Vault)),
            ("vault:kv/../a#field", Err(SourceReferenceError::Vault)),
            ("vault:/kv/a#field", Err(SourceReferenceError::Vault)),
            ("vault:kv/a?x=1#field", Err(SourceReferenceError::Vault)),
            ("vault:kv/a#", Err(SourceReferenceError::Vault)),
            ("vault:#field", Err(SourceReferenceError::Vault)),
            ("vault:kv/a#fie\nld", Err(SourceReferenceError::Vault)),
            ("vault:kv/a#b#c", vault("kv/a", "b#c")),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
            if let Ok(reference) = text.parse::<SourceReference>() {
                assert_eq!(reference.to_string(), text);
            }
        }
    }
}
