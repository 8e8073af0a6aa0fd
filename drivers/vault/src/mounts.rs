//! Finds the KV mount of a path and its version, as Vault's own CLI does. Caches both, and which
//! metadata the policy forbids.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use keyside_credentials::source::SourceError;
use parking_lot::RwLock;
use reqwest::Method;
use serde::Deserialize;

use crate::{client::Call, session::Session};

/// A mounted KV secrets engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Path of the mount, without slashes at its ends.
    pub path: String,
    /// Version of its API.
    pub version: KvVersion,
}

/// Version of a KV secrets engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvVersion {
    /// Keeps only the current value.
    V1,
    /// Keeps versions, and metadata about them.
    V2,
}

impl Mount {
    /// The part of `path` below the mount; `None` if it is not in the mount.
    pub fn rest_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        within(path, &self.path)
    }

    /// The API path of the secret at `path` (without the mount). A policy has to permit reading it.
    pub fn data_path(&self, path: &str) -> String {
        match self.version {
            KvVersion::V1 => format!("{}/{path}", self.path),
            KvVersion::V2 => format!("{}/data/{path}", self.path),
        }
    }

    /// The API path of the secret's metadata, which is polled for changes; `None` in version 1.
    pub fn metadata_path(&self, path: &str) -> Option<String> {
        match self.version {
            KvVersion::V1 => None,
            KvVersion::V2 => Some(format!("{}/metadata/{path}", self.path)),
        }
    }
}

/// The known mounts. Vault allows no mount below another one, so a path is in one at most.
#[derive(Default)]
pub(crate) struct Mounts {
    known: RwLock<BTreeMap<String, KvVersion>>,
    /// Metadata requests that a policy forbids. Each is tried once per process.
    metadata_forbidden: RwLock<BTreeSet<String>>,
}

impl Mounts {
    /// The known mount that contains `path`.
    pub(crate) fn known(&self, path: &str) -> Option<Mount> {
        let known = self.known.read();
        let mount = known
            .iter()
            .find(|(mount, _)| within(path, mount).is_some());
        mount.map(|(path, version)| Mount {
            path: path.clone(),
            version: *version,
        })
    }

    pub(crate) fn remember(&self, mount: &Mount) {
        let mut known = self.known.write();
        known.insert(mount.path.clone(), mount.version);
    }

    /// Called if a mount may have been replaced by another one.
    pub(crate) fn forget(&self, mount: &Mount) {
        self.known.write().remove(&mount.path);
    }

    pub(crate) fn is_metadata_forbidden(&self, request: &str) -> bool {
        self.metadata_forbidden.read().contains(request)
    }

    pub(crate) fn mark_metadata_forbidden(&self, request: String) {
        self.metadata_forbidden.write().insert(request);
    }

    /// Asks Vault for the mount that contains `path`; `None` if Vault does not tell: the token's
    /// policies name nothing in the mount, or nothing is mounted there.
    ///
    /// # Errors
    /// Vault is unavailable, or the mount is not a KV engine.
    pub(crate) async fn ask(
        &self,
        session: &Arc<Session>,
        path: &str,
    ) -> Result<Option<Mount>, SourceError> {
        #[derive(Deserialize)]
        struct Envelope {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            path: String,
            #[serde(rename = "type")]
            engine: String,
            options: Option<Options>,
        }
        #[derive(Deserialize)]
        struct Options {
            version: Option<String>,
        }
        let call = Call::new(Method::GET, &format!("sys/internal/ui/mounts/{path}"));
        let answer = session.call(&call).await?;
        if !answer.is_success() {
            return Ok(None);
        }
        let Data {
            path: mount,
            engine,
            options,
        } = answer.read::<Envelope>(&call)?.data;
        if engine != "kv" && engine != "generic" {
            return Err(SourceError::Gone(format!(
                "{path} is not in a KV secrets engine: {mount} is of type {engine}. Check the path"
            )));
        }
        let version = options.and_then(|options| options.version);
        let mount = Mount {
            path: mount.trim_matches('/').to_owned(),
            version: match version.as_deref() {
                Some("2") => KvVersion::V2,
                _ => KvVersion::V1,
            },
        };
        self.remember(&mount);
        Ok(Some(mount))
    }
}

/// The part of `path` below `mount`.
pub(crate) fn within<'a>(path: &'a str, mount: &str) -> Option<&'a str> {
    path.strip_prefix(mount)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_version_2_has_metadata() {
        let paths = |version| {
            let path = "kv/teams".to_owned();
            let mount = Mount { path, version };
            (mount.data_path("acme"), mount.metadata_path("acme"))
        };
        assert_eq!(paths(KvVersion::V1), ("kv/teams/acme".to_owned(), None));
        let metadata = Some("kv/teams/metadata/acme".to_owned());
        assert_eq!(
            paths(KvVersion::V2),
            ("kv/teams/data/acme".to_owned(), metadata)
        );
    }

    #[test]
    fn a_path_is_in_a_mount_only_at_a_slash() {
        let mounts = Mounts::default();
        let mount = Mount {
            path: "kv/teams".to_owned(),
            version: KvVersion::V2,
        };
        mounts.remember(&mount);
        assert_eq!(mounts.known("kv/teams/acme/openai"), Some(mount.clone()));
        assert_eq!(mounts.known("kv/teamsters/x"), None);
        mounts.forget(&mount);
        assert_eq!(mounts.known("kv/teams/acme/openai"), None);
    }
}
