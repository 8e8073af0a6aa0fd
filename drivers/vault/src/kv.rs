//! Reads one field of a secret in KV version 1 or 2; cheap if the caller already has the current
//! version.
//!
//! In KV version 2 the version is Vault's number, with its creation time if the numbers started
//! again, and polling reads the metadata first, which contains no secret. KV version 1 has no
//! versions: there the version is an HMAC of the value under a key of this process, which reveals
//! nothing about the value.

mod fields;
mod refusal;

use std::{collections::BTreeMap, time::Instant};

use async_trait::async_trait;
use keyside_credentials::source::{Reading, SecretSource, SourceError, VaultReference};
use serde::Deserialize;
use vaultrs::api::{
    kv1::requests::GetSecretRequest,
    kv2::requests::{ReadSecretMetadataRequest, ReadSecretRequest},
};
use zeroize::Zeroizing;

use self::{
    fields::Fields,
    refusal::{Refusal, VersionGone},
};
use crate::{
    client::{Answer, Call},
    error::{ErrorResponse, VaultError},
    mounts::{KvVersion, Mount, within},
    vault::Vault,
    versions::Named,
};

/// The location of a secret in a known mount.
struct SecretLocation<'a> {
    reference: &'a VaultReference,
    mount: Mount,
    path: String,
}

#[async_trait]
impl SecretSource for Vault {
    async fn read(
        &self,
        reference: &VaultReference,
        known: Option<&str>,
    ) -> Result<Reading, SourceError> {
        let path = full_path(reference)?;
        let mut refused = None;
        if let Some(mount) = self.mounts.known(&path) {
            let location = SecretLocation::new(reference, mount, &path);
            match location.read(self, known).await {
                Err(SourceError::Gone(reason)) => refused = Some((location.mount, reason)),
                decided => return decided,
            }
        }
        // The mount may have been replaced: asks Vault again.
        let mount = self.mount_of(&path).await?;
        let refused = match (refused, &mount) {
            (Some((before, reason)), Some(now)) if before == *now => {
                return Err(SourceError::Gone(reason));
            }
            (Some((before, reason)), None) => {
                self.mounts.forget(&before);
                Some(reason)
            }
            (Some((before, _)), Some(now)) => {
                if before.path != now.path {
                    self.mounts.forget(&before);
                }
                None
            }
            (None, _) => None,
        };
        match (mount, &reference.mount) {
            (Some(mount), _) => {
                SecretLocation::new(reference, mount, &path)
                    .read(self, known)
                    .await
            }
            (None, Some(mount)) => probe_version(self, reference, mount, &path, known).await,
            (None, None) => {
                let reason = refused.unwrap_or_else(|| refusal::no_mount(&path));
                Err(SourceError::Gone(reason))
            }
        }
    }
}

/// Reads without knowing the mount's version: tries version 2, then 1.
async fn probe_version(
    vault: &Vault,
    reference: &VaultReference,
    mount: &str,
    path: &str,
    known: Option<&str>,
) -> Result<Reading, SourceError> {
    let mut refused = None;
    for version in [KvVersion::V2, KvVersion::V1] {
        let mount = Mount {
            path: mount.trim_matches('/').to_owned(),
            version,
        };
        let location = SecretLocation::new(reference, mount, path);
        if version == KvVersion::V1 && location.has_v2_api_segment() {
            continue;
        }
        match location.read(vault, known).await {
            Err(SourceError::Gone(reason)) => {
                refused.get_or_insert(reason);
            }
            Err(away) => return Err(away),
            Ok(reading) => {
                vault.mounts.remember(&location.mount);
                return Ok(reading);
            }
        }
    }
    Err(SourceError::Gone(refused.unwrap_or_default()))
}

impl<'a> SecretLocation<'a> {
    fn new(reference: &'a VaultReference, mount: Mount, path: &str) -> Self {
        Self {
            reference,
            path: within(path, &mount.path).unwrap_or_default().to_owned(),
            mount,
        }
    }

    /// Whether the path contains a segment that only the API of version 2 has. A mount of version 2
    /// would serve another secret for it: `kv/data/acme/openai` is how that API names the secret
    /// `kv/acme/openai`.
    fn has_v2_api_segment(&self) -> bool {
        // The configured mount may contain one of these words itself.
        let below = self.mount.path.split('/').skip(1);
        let mut asked = below.chain(self.path.split('/').take(1));
        asked.any(|segment| V2_API_SEGMENTS.contains(&segment))
    }

    async fn read(&self, vault: &Vault, known: Option<&str>) -> Result<Reading, SourceError> {
        if let (KvVersion::V2, Some(known)) = (self.mount.version, known)
            && self.is_current(vault, known).await?
        {
            return Ok(Reading::Unchanged);
        }
        match self.mount.version {
            KvVersion::V1 if self.reference.version.is_some() => {
                Err(self.refused(Refusal::NoVersions))
            }
            KvVersion::V1 => self.read_v1(vault, known).await,
            KvVersion::V2 => self.read_v2(vault, known).await,
        }
    }

    async fn read_v1(&self, vault: &Vault, known: Option<&str>) -> Result<Reading, SourceError> {
        #[derive(Deserialize)]
        struct Envelope<'body> {
            #[serde(borrow)]
            data: Fields<'body>,
        }
        let call = Call::of(&GetSecretRequest {
            mount: self.mount.path.clone(),
            path: self.path.clone(),
        });
        let answer = self.found(vault, &call).await?;
        let secret = self.field(answer.read::<Envelope<'_>>(&call)?.data)?;
        let version = vault.value_key.version(&secret);
        Ok(reading(version, secret, known))
    }

    /// Whether the metadata shows that `known` is the version to read. False if that is uncertain:
    /// the data is read then.
    async fn is_current(&self, vault: &Vault, known: &str) -> Result<bool, SourceError> {
        let call = Call::of(&ReadSecretMetadataRequest {
            mount: self.mount.path.clone(),
            path: self.path.clone(),
        });
        if vault.mounts.is_metadata_forbidden(&call.name()) {
            return Ok(false);
        }
        let answer = vault.answer(&call).await?;
        if answer.status == 403 {
            // A policy may forbid metadata; it is then not requested again.
            vault.mounts.mark_metadata_forbidden(call.name());
        }
        if !answer.is_success() {
            return Ok(false);
        }
        let metadata = answer.read::<MetadataEnvelope>(&call)?.data;
        let version = self.reference.version.unwrap_or(metadata.current_version);
        let state = metadata.versions.get(&version.to_string());
        Ok(
            state.is_some_and(|state| match self.version(vault, version, state) {
                Named::Newest(name) => state.exists() && name == known,
                Named::OlderThan(newest) => newest == known,
            }),
        )
    }

    async fn read_v2(&self, vault: &Vault, known: Option<&str>) -> Result<Reading, SourceError> {
        #[derive(Deserialize)]
        struct Envelope<'body> {
            #[serde(borrow)]
            data: Data<'body>,
        }
        #[derive(Deserialize)]
        struct Data<'body> {
            #[serde(borrow)]
            data: Option<Fields<'body>>,
            metadata: VersionState,
        }
        let call = Call::of(&ReadSecretRequest {
            mount: self.mount.path.clone(),
            path: self.path.clone(),
            version: self.reference.version,
        });
        let answer = self.found(vault, &call).await?;
        let Data { data, metadata } = answer.read::<Envelope<'_>>(&call)?.data;
        let fields = data.ok_or_else(|| self.refused(Refusal::Gone(metadata.gone())))?;
        let secret = self.field(fields)?;
        match self.version(vault, metadata.version, &metadata) {
            Named::Newest(version) => Ok(reading(version, secret, known)),
            Named::OlderThan(newest) if known == Some(newest.as_str()) => Ok(Reading::Unchanged),
            Named::OlderThan(newest) => Err(SourceError::Unavailable(refusal::behind(
                self.reference,
                metadata.version,
                &newest,
            ))),
        }
    }

    fn version(&self, vault: &Vault, number: u64, state: &VersionState) -> Named {
        let path = self.mount.data_path(&self.path);
        let (pinned, created) = (self.reference.version, &state.created_time);
        vault
            .versions
            .name(&path, pinned, number, created, Instant::now())
    }

    /// The response, if the secret exists.
    async fn found(&self, vault: &Vault, call: &Call) -> Result<Answer, SourceError> {
        let answer = vault.answer(call).await?;
        match answer.status {
            _ if answer.is_success() => Ok(answer),
            403 => Err(self.refused(Refusal::Forbidden)),
            404 => Err(self.refused(self.missing(&answer))),
            400 if is_upgrading(&answer.error_response(call)) => {
                let reason = VaultError::ErrorResponse(answer.error_response(call)).to_string();
                Err(SourceError::Unavailable(reason))
            }
            _ => Err(VaultError::ErrorResponse(answer.error_response(call)).into()),
        }
    }

    /// In version 2, a 404 may contain the metadata of a deleted version.
    fn missing(&self, answer: &Answer) -> Refusal<'static> {
        #[derive(Deserialize)]
        struct Envelope {
            data: Option<Data>,
        }
        #[derive(Deserialize)]
        struct Data {
            metadata: Option<VersionState>,
        }
        let envelope = serde_json::from_slice::<Envelope>(&answer.body);
        let data = envelope.ok().and_then(|envelope| envelope.data);
        match data.and_then(|data| data.metadata) {
            Some(metadata) => Refusal::Gone(metadata.gone()),
            None => Refusal::Nothing,
        }
    }

    fn field(&self, fields: Fields<'_>) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        let field = fields.take(&self.reference.field);
        field.map_err(|missing| self.refused(Refusal::Field(&missing)))
    }

    fn refused(&self, refusal: Refusal<'_>) -> SourceError {
        SourceError::Gone(refusal.explain(&self.mount, &self.path, self.reference))
    }
}

#[derive(Deserialize)]
struct MetadataEnvelope {
    data: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    current_version: u64,
    versions: BTreeMap<String, VersionState>,
}

#[derive(Deserialize)]
struct VersionState {
    #[serde(default)]
    version: u64,
    /// RFC 3339.
    #[serde(default)]
    created_time: String,
    /// Empty, or RFC 3339. May be in the future (`delete_version_after`).
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

impl VersionState {
    /// Whether the version certainly exists. With a deletion time that depends on Vault's clock, so
    /// the data is read instead.
    fn exists(&self) -> bool {
        !self.destroyed && self.deletion_time.is_empty()
    }

    fn gone(&self) -> VersionGone {
        match self.destroyed {
            true => VersionGone::Destroyed(self.version),
            false => VersionGone::Deleted(self.version),
        }
    }
}

/// Vault responds with this to every request while it upgrades a mount to version 2. Only the text
/// distinguishes it from a real error.
fn is_upgrading(answered: &ErrorResponse) -> bool {
    let errors = &answered.errors;
    errors.iter().any(|error| error.contains(UPGRADING))
}

fn reading(version: String, secret: Zeroizing<Vec<u8>>, known: Option<&str>) -> Reading {
    match known == Some(version.as_str()) {
        true => Reading::Unchanged,
        false => Reading::Secret { version, secret },
    }
}

/// The path including its mount. Prepends `mount` if the path does not begin with it.
fn full_path(reference: &VaultReference) -> Result<String, SourceError> {
    let path = reference.path.trim_matches('/');
    let mount = reference
        .mount
        .as_deref()
        .map(|mount| mount.trim_matches('/'));
    let full = match mount {
        Some(mount) if within(path, mount).is_none() => format!("{mount}/{path}"),
        _ => path.to_owned(),
    };
    // A URL parser would resolve `.` and `..`, so the request would go to a path that was not
    // checked against the allowed prefixes.
    let odd =
        |segment: &str| matches!(segment, "" | "." | "..") || segment.chars().any(char::is_control);
    match full.split('/').any(odd) || !full.contains('/') {
        true => Err(SourceError::Gone(refusal::invalid_path(&full))),
        false => Ok(full),
    }
}

/// The segments that may follow the mount in a path of the API of version 2.
const V2_API_SEGMENTS: [&str; 8] = [
    "config",
    "data",
    "delete",
    "destroy",
    "detailed-metadata",
    "metadata",
    "subkeys",
    "undelete",
];
/// In the error text of Vault and OpenBao during such an upgrade.
const UPGRADING: &str = "Upgrading from non-versioned to versioned";

#[cfg(test)]
mod tests;
