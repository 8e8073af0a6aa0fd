//! Reads one field of a secret in KV version 1 or 2, cheaply where the caller has it already.
//!
//! In version 2 a version is the number that Vault counts, and a follower asks for metadata first, which holds no secret. Version
//! 1 counts nothing: there a version is an HMAC of the value under a key of this process, so that it tells nothing of the value.

mod fields;
mod refusal;

use std::collections::BTreeMap;

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
    refusal::{Gone, Refusal},
};
use crate::{
    client::{Answer, Call},
    error::{Answered, VaultError},
    mounts::{KvVersion, Mount, within},
    vault::Vault,
};

/// A secret's place, once its mount is known.
struct Place<'a> {
    reference: &'a VaultReference,
    mount: Mount,
    path: String,
}

/// What is known of a secret before its data was read.
enum Polled {
    Unchanged,
    Changed,
}

#[async_trait]
impl SecretSource for Vault {
    async fn read(
        &self,
        reference: &VaultReference,
        known: Option<&str>,
    ) -> Result<Reading, SourceError> {
        read(self, reference, known).await
    }
}

/// Reads what `reference` names, unless its version is `known`.
///
/// # Errors
/// It is not there, or may not be read; or Vault is away.
async fn read(
    vault: &Vault,
    reference: &VaultReference,
    known: Option<&str>,
) -> Result<Reading, SourceError> {
    let path = full_path(reference)?;
    let mut refused = None;
    if let Some(mount) = vault.mounts.known(&path) {
        let place = Place::new(reference, mount, &path);
        match place.read(vault, known).await {
            Err(SourceError::Gone(reason)) => refused = Some((place.mount, reason)),
            decided => return decided,
        }
    }
    // Perhaps it is another mount now. What Vault says of it decides.
    let mount = vault.mount_of(&path).await?;
    let refused = match (refused, &mount) {
        (Some((before, reason)), Some(now)) if before == *now => {
            return Err(SourceError::Gone(reason));
        }
        (Some((before, reason)), None) => {
            vault.mounts.forget(&before);
            Some(reason)
        }
        (Some((before, _)), Some(now)) => {
            if before.path != now.path {
                vault.mounts.forget(&before);
            }
            None
        }
        (None, _) => None,
    };
    match (mount, &reference.mount) {
        (Some(mount), _) => Place::new(reference, mount, &path).read(vault, known).await,
        (None, Some(mount)) => guess(vault, reference, mount, &path, known).await,
        (None, None) => {
            let reason = refused.unwrap_or_else(|| refusal::no_mount(&path));
            Err(SourceError::Gone(reason))
        }
    }
}

/// Where Vault does not say of which version a mount is, version 2 is tried, then 1.
async fn guess(
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
        let place = Place::new(reference, mount, path);
        if version == KvVersion::V1 && place.is_in_the_api_of_version_2() {
            continue;
        }
        match place.read(vault, known).await {
            Err(SourceError::Gone(reason)) => {
                refused.get_or_insert(reason);
            }
            Err(away) => return Err(away),
            Ok(reading) => {
                vault.mounts.remember(&place.mount);
                return Ok(reading);
            }
        }
    }
    Err(SourceError::Gone(refused.unwrap_or_default()))
}

impl<'a> Place<'a> {
    fn new(reference: &'a VaultReference, mount: Mount, path: &str) -> Self {
        Self {
            reference,
            path: within(path, &mount.path).unwrap_or_default().to_owned(),
            mount,
        }
    }

    /// Whether the API of version 1, asked of a mount of version 2, would name something else than the secret at this path:
    /// `kv/data/acme/openai` is how that one has the secret `kv/acme/openai`.
    fn is_in_the_api_of_version_2(&self) -> bool {
        // The mount is a part of the reference, and so may have one of those words in it.
        let below = self.mount.path.split('/').skip(1);
        let mut asked = below.chain(self.path.split('/').take(1));
        asked.any(|segment| VERSION_2_API.contains(&segment))
    }

    async fn read(&self, vault: &Vault, known: Option<&str>) -> Result<Reading, SourceError> {
        match (self.mount.version, known) {
            (KvVersion::V1, _) if self.reference.version.is_some() => {
                Err(self.refused(Refusal::NoVersions))
            }
            (KvVersion::V1, known) => self.read_first(vault, known).await,
            (KvVersion::V2, Some(known)) => match self.poll(vault, known).await? {
                Polled::Unchanged => Ok(Reading::Unchanged),
                Polled::Changed => self.read_second(vault, Some(known)).await,
            },
            (KvVersion::V2, None) => self.read_second(vault, None).await,
        }
    }

    async fn read_first(&self, vault: &Vault, known: Option<&str>) -> Result<Reading, SourceError> {
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

    /// Asks for metadata. Only what is certain is decided here: anything else is for the data to tell.
    async fn poll(&self, vault: &Vault, known: &str) -> Result<Polled, SourceError> {
        let call = Call::of(&ReadSecretMetadataRequest {
            mount: self.mount.path.clone(),
            path: self.path.clone(),
        });
        if vault.mounts.hides_metadata(&call.name()) {
            return Ok(Polled::Changed);
        }
        let answer = vault.answer(&call).await?;
        if answer.status == 403 {
            // A policy need not allow metadata.
            vault.mounts.metadata_is_hidden(call.name());
        }
        if !answer.is_success() {
            return Ok(Polled::Changed);
        }
        let metadata = answer.read::<MetadataEnvelope>(&call)?.data;
        let version = self.reference.version.unwrap_or(metadata.current_version);
        let state = metadata.versions.get(&version.to_string());
        let is_there = state.is_some_and(VersionState::is_there);
        match is_there && version.to_string() == known {
            true => Ok(Polled::Unchanged),
            false => Ok(Polled::Changed),
        }
    }

    async fn read_second(
        &self,
        vault: &Vault,
        known: Option<&str>,
    ) -> Result<Reading, SourceError> {
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
        Ok(reading(metadata.version.to_string(), secret, known))
    }

    /// The answer, if there is something at the place.
    async fn found(&self, vault: &Vault, call: &Call) -> Result<Answer, SourceError> {
        let answer = vault.answer(call).await?;
        match answer.status {
            _ if answer.is_success() => Ok(answer),
            403 => Err(self.refused(Refusal::Forbidden)),
            404 => Err(self.refused(self.missing(&answer))),
            400 if is_upgrading(&answer.answered(call)) => {
                let reason = VaultError::Answered(answer.answered(call)).to_string();
                Err(SourceError::Unavailable(reason))
            }
            _ => Err(VaultError::Answered(answer.answered(call)).into()),
        }
    }

    /// A 404 of version 2 holds the metadata of a version that was deleted.
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
    /// Empty, or RFC 3339; it may be in the future (`delete_version_after`).
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

impl VersionState {
    /// Certainly there. With a deletion time it depends on Vault's clock, so Vault is asked.
    fn is_there(&self) -> bool {
        !self.destroyed && self.deletion_time.is_empty()
    }

    fn gone(&self) -> Gone {
        match self.destroyed {
            true => Gone::Destroyed(self.version),
            false => Gone::Deleted(self.version),
        }
    }
}

/// While a mount becomes one of version 2, each request in it is answered so; the text is all that tells it from a mistake.
fn is_upgrading(answered: &Answered) -> bool {
    let errors = &answered.errors;
    errors.iter().any(|error| error.contains(UPGRADING))
}

fn reading(version: String, secret: Zeroizing<Vec<u8>>, known: Option<&str>) -> Reading {
    match known == Some(version.as_str()) {
        true => Reading::Unchanged,
        false => Reading::Secret { version, secret },
    }
}

/// The path with its mount at the beginning. A `mount` beside a path that does not begin with it is put there.
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
    // `.` and `..` would be resolved in the URL, and so lead to another path than the one that was allowed.
    let odd =
        |segment: &str| matches!(segment, "" | "." | "..") || segment.chars().any(char::is_control);
    match full.split('/').any(odd) || !full.contains('/') {
        true => Err(SourceError::Gone(refusal::odd_path(&full))),
        false => Ok(full),
    }
}

/// The words that the API of version 2 has behind a mount.
const VERSION_2_API: [&str; 8] = [
    "config",
    "data",
    "delete",
    "destroy",
    "detailed-metadata",
    "metadata",
    "subkeys",
    "undelete",
];
const UPGRADING: &str = "Upgrading from non-versioned to versioned";

#[cfg(test)]
mod tests;
