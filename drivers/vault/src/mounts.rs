//! Finds the KV mount of a path and its version, as Vault's own CLI does, and remembers it, with what cannot be asked in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, RwLock},
};

use keyside_credentials::source::SourceError;
use reqwest::Method;
use serde::Deserialize;

use crate::{client::Call, session::Session};

/// A KV secrets engine at its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Without slashes at its ends.
    pub path: String,
    /// Which of the two APIs it has.
    pub version: KvVersion,
}

/// A version of the KV secrets engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvVersion {
    /// Keeps one value for each path.
    V1,
    /// Keeps versions, with metadata beside them.
    V2,
}

impl Mount {
    /// The part of `path` that is inside of the mount; `None` where it is not in it.
    pub fn rest_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        within(path, &self.path)
    }

    /// Where the API has the secret at `path`, which is without the mount: what a policy has to allow reading.
    pub fn data_path(&self, path: &str) -> String {
        match self.version {
            KvVersion::V1 => format!("{}/{path}", self.path),
            KvVersion::V2 => format!("{}/data/{path}", self.path),
        }
    }

    /// Where the API has its metadata, which is polled for changes; version 1 has none.
    pub fn metadata_path(&self, path: &str) -> Option<String> {
        match self.version {
            KvVersion::V1 => None,
            KvVersion::V2 => Some(format!("{}/metadata/{path}", self.path)),
        }
    }
}

/// The mounts that are known. Vault mounts nothing below a mount, so a path has at most one.
#[derive(Default)]
pub(crate) struct Mounts {
    known: RwLock<BTreeMap<String, KvVersion>>,
    /// Requests for metadata that policies do not allow; each is tried once a process.
    metadata_forbidden: RwLock<BTreeSet<String>>,
}

impl Mounts {
    /// The known mount that `path` is in.
    pub(crate) fn known(&self, path: &str) -> Option<Mount> {
        let known = self.known.read().ok()?;
        let mount = known
            .iter()
            .find(|(mount, _)| within(path, mount).is_some());
        mount.map(|(path, version)| Mount {
            path: path.clone(),
            version: *version,
        })
    }

    pub(crate) fn remember(&self, mount: &Mount) {
        if let Ok(mut known) = self.known.write() {
            known.insert(mount.path.clone(), mount.version);
        }
    }

    /// For when a mount may have been replaced by another.
    pub(crate) fn forget(&self, mount: &Mount) {
        if let Ok(mut known) = self.known.write() {
            known.remove(&mount.path);
        }
    }

    pub(crate) fn is_metadata_forbidden(&self, request: &str) -> bool {
        let metadata_forbidden = self.metadata_forbidden.read();
        metadata_forbidden.is_ok_and(|metadata_forbidden| metadata_forbidden.contains(request))
    }

    pub(crate) fn mark_metadata_forbidden(&self, request: String) {
        if let Ok(mut metadata_forbidden) = self.metadata_forbidden.write() {
            metadata_forbidden.insert(request);
        }
    }

    /// Asks Vault for the mount that `path` is in; `None` where it does not say: no policy of this token names anything in the
    /// mount, or there is none.
    ///
    /// # Errors
    /// Vault is away, or something else than KV is mounted there.
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

/// The rest of `path` inside of `mount`.
pub(crate) fn within<'a>(path: &'a str, mount: &str) -> Option<&'a str> {
    path.strip_prefix(mount)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_metadata_beside_it_in_version_2_alone() {
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
