//! The KMS driver `vault`: wraps the workspace keys with Transit, with one Transit key per
//! workspace.
//!
//! So a policy can limit a process to one workspace, and deleting a Transit key makes every copy of
//! what it wrapped useless. Transit's own `rewrap` accepts no associated data (vault#29532), so
//! re-wrapping is decrypt and encrypt.

mod wrapped;

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use keyside_config::TransitKms;
use keyside_credentials::{
    KmsError,
    kms::{KeyService, Wrapping},
};
use serde_json::{Value, json};
use zeroize::{Zeroize, Zeroizing};

use self::wrapped::{DRIVER, Wrapped};
use crate::{error::VaultError, vault::Vault};

/// Transit as a KMS.
pub struct Transit {
    vault: Arc<Vault>,
    mount: String,
    key_prefix: String,
    can_make_new: bool,
}

impl Transit {
    /// Sends nothing yet. A read-only process cannot create keys, and needs only `update` on
    /// `decrypt`.
    pub fn new(vault: Arc<Vault>, settings: &TransitKms, can_make_new: bool) -> Self {
        Self {
            vault,
            mount: settings.mount.clone(),
            key_prefix: settings.key_prefix.clone(),
            can_make_new,
        }
    }

    /// Creates the Transit key of a workspace. Idempotent.
    async fn create(&self, workspace: &str) -> Result<(), KmsError> {
        let body =
            json!({ "type": "aes256-gcm96", "exportable": false, "allow_plaintext_backup": false });
        let path = self.path("keys", workspace);
        let key = self.vault.post(&path, &body).await;
        let key =
            key.map_err(|error| self.failed(workspace, "create and update", &path, &error))?;
        // Vault before 1.12 does not return the key.
        let leaves_vault = ["exportable", "allow_plaintext_backup"];
        match leaves_vault.into_iter().find(|name| key[name] == true) {
            Some(name) => Err(KmsError::Refused {
                wrapping_key: self.name(workspace),
                reason: format!(
                    "it was created with {name} = true, so what it wraps can be unwrapped outside of Vault; set kms.key_prefix to one \
                     that no key has yet"
                ),
            }),
            None => Ok(()),
        }
    }

    async fn post_secret(
        &self,
        operation: &str,
        wrapping: &Wrapping<'_>,
        (name, value): (&str, String),
    ) -> Result<ZeroizingJson, VaultError> {
        let associated_data = BASE64_STANDARD.encode(wrapping.associated_data());
        let body = ZeroizingJson(Value::from_iter([
            (name, value),
            ("associated_data", associated_data),
        ]));
        let path = self.path(operation, wrapping.workspace);
        self.vault.post(&path, &body.0).await.map(ZeroizingJson)
    }

    fn path(&self, operation: &str, workspace: &str) -> String {
        format!(
            "{}/{operation}/{}",
            self.mount,
            key_name(&self.key_prefix, workspace)
        )
    }

    fn failed(
        &self,
        workspace: &str,
        capability: &str,
        path: &str,
        error: &VaultError,
    ) -> KmsError {
        if error.is_unavailable() {
            return KmsError::Unavailable {
                reason: error.to_string(),
                transient: error.is_transient(),
            };
        }
        let remedy = match error.status() {
            Some(403) => format!("allow {capability} on {path} in the policy"),
            Some(404) => "kms.mount has to name a Transit engine".to_owned(),
            _ if error_contains(error, KEY_GONE) => {
                "the Transit key is gone, and what it wrapped is lost unless Vault is restored"
                    .to_owned()
            }
            _ if error_contains(error, TOO_OLD) => {
                "set min_decryption_version of the Transit key back, restart, run `keyside master-key rotate`, and only then \
                 raise it"
                    .to_owned()
            }
            _ => "see docs/CONFIGURATION.md for what Transit has to allow".to_owned(),
        };
        KmsError::Refused {
            wrapping_key: self.name(workspace),
            reason: format!("{error}; {remedy}"),
        }
    }

    fn malformed(&self, workspace: &str) -> KmsError {
        KmsError::Refused {
            wrapping_key: self.name(workspace),
            reason: "the response is not from Transit; kms.mount has to name a Transit engine"
                .to_owned(),
        }
    }
}

#[async_trait]
impl KeyService for Transit {
    fn name(&self, workspace: &str) -> String {
        format!("{}/{}", self.mount, key_name(&self.key_prefix, workspace))
    }

    fn wrapped_by(&self, wrapped: &[u8]) -> Option<String> {
        Wrapped::parse(wrapped).map(|wrapped| wrapped.transit_key.to_owned())
    }

    fn can_make_new(&self) -> bool {
        self.can_make_new
    }

    async fn wrap(
        &self,
        wrapping: &Wrapping<'_>,
        key: &[u8; KEY_LEN],
    ) -> Result<Vec<u8>, KmsError> {
        let workspace = wrapping.workspace;
        if self.can_make_new {
            self.create(workspace).await?;
        }
        let plaintext = ("plaintext", BASE64_STANDARD.encode(key));
        let answer = self.post_secret("encrypt", wrapping, plaintext).await;
        let path = self.path("encrypt", workspace);
        let answer = answer.map_err(|error| self.failed(workspace, "update", &path, &error))?;
        let ciphertext = answer.0["ciphertext"].as_str();
        ciphertext
            .and_then(|text| Wrapped::from_transit(&self.name(workspace), text))
            .ok_or_else(|| self.malformed(workspace))
    }

    async fn unwrap(
        &self,
        wrapping: &Wrapping<'_>,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; KEY_LEN]>, KmsError> {
        let workspace = wrapping.workspace;
        let unreadable = || KmsError::unreadable(DRIVER, wrapping.key, wrapped);
        let blob = Wrapped::parse(wrapped).ok_or_else(unreadable)?;
        // The path comes from the settings; the path in the stored blob must match, but never
        // decides where a request goes.
        let given = self.name(workspace);
        if blob.transit_key != given {
            return Err(KmsError::OtherWrappingKey {
                key: wrapping.key.to_owned(),
                expected: blob.transit_key.to_owned(),
                given,
            });
        }
        let ciphertext = ("ciphertext", blob.to_transit());
        let answer = self.post_secret("decrypt", wrapping, ciphertext).await;
        let answer = answer.map_err(|error| {
            match NOT_AUTHENTIC
                .iter()
                .any(|text| error_contains(&error, text))
            {
                true => KmsError::NotAuthentic(wrapping.key.to_owned()),
                false => {
                    let path = self.path("decrypt", workspace);
                    self.failed(workspace, "update", &path, &error)
                }
            }
        })?;
        let plaintext = answer.0["plaintext"].as_str();
        plaintext
            .and_then(decoded)
            .ok_or_else(|| self.malformed(workspace))
    }

    async fn forget(&self, workspace: &str) -> Result<(), KmsError> {
        let path = self.path("keys", workspace);
        let config = format!("{path}/config");
        // Set only now, so that nothing else can delete the key by mistake.
        let allowed = self
            .vault
            .post(&config, &json!({ "deletion_allowed": true }))
            .await;
        match allowed {
            Err(error) if error_contains(&error, NO_SUCH_KEY) => return Ok(()),
            Err(error) => return Err(self.failed(workspace, "update", &config, &error)),
            Ok(_) => {}
        }
        let deleted = self.vault.delete(&path).await;
        deleted.map_err(|error| self.failed(workspace, "delete", &path, &error))
    }
}

/// Transit key names begin and end with a letter, a digit or `_`. Workspace ids contain no `_`, so
/// no two names are equal, and no workspace's name equals the installation's.
fn key_name(prefix: &str, workspace: &str) -> String {
    match workspace {
        "" => format!("{prefix}_installation"),
        id if id.ends_with('-') => format!("{prefix}{id}_"),
        id => format!("{prefix}{id}"),
    }
}

fn decoded(plaintext: &str) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    let mut bytes = Zeroizing::new([0; KEY_LEN + 1]);
    let len = BASE64_STANDARD.decode_slice(plaintext, &mut *bytes).ok()?;
    let key = <&[u8; KEY_LEN]>::try_from(&bytes[..len]).ok()?;
    Some(Zeroizing::new(*key))
}

/// Vault distinguishes the reasons of a 400 only by their text.
fn error_contains(error: &VaultError, text: &str) -> bool {
    match error {
        VaultError::ErrorResponse(answered) => {
            answered.status == 400 && answered.errors.iter().any(|error| error.contains(text))
        }
        _ => false,
    }
}

/// JSON whose strings are zeroed when it is dropped: one may be a workspace key.
struct ZeroizingJson(Value);

impl Drop for ZeroizingJson {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

const KEY_LEN: usize = 32;

/// Error texts of `decrypt` for data that is not authentic, in OpenBao 2 and in Vault.
const NOT_AUTHENTIC: [&str; 2] = ["message authentication failed", "invalid ciphertext length"];
/// Error text of `decrypt` for a deleted Transit key.
const KEY_GONE: &str = "encryption key not found";
/// Error text of `decrypt` for a key version below `min_decryption_version`.
const TOO_OLD: &str = "disallowed by policy (too old)";
/// Error text of `keys/…/config` for a Transit key that does not exist.
const NO_SUCH_KEY: &str = "no existing key";

#[cfg(test)]
mod tests;
