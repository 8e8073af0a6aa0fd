//! One Vault: its session, and its known mounts.

use std::{fmt, sync::Arc, time::Duration};

use keyside_credentials::source::SourceError;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    client::{Answer, Call, Http},
    error::VaultError,
    mounts::{Mount, Mounts},
    session::Session,
    sign_in::SignIn,
    value_key::ValueKey,
    versions::Versions,
};

/// A Vault, shared by all readers of a process. Signs in at the first call that needs a token.
pub struct Vault {
    session: Arc<Session>,
    pub(crate) mounts: Mounts,
    pub(crate) value_key: ValueKey,
    pub(crate) versions: Versions,
}

impl Vault {
    /// Reads the certificates that the settings name. Sends nothing yet.
    ///
    /// # Errors
    /// [`VaultError::Settings`] for a file that cannot be read or contains no certificate.
    pub fn open(settings: &keyside_config::Vault) -> Result<Arc<Self>, VaultError> {
        let http = Arc::new(Http::open(settings)?);
        let sign_in = SignIn::new(&settings.auth);
        Ok(Arc::new(Self {
            session: Arc::new(Session::new(http, sign_in)),
            mounts: Mounts::default(),
            value_key: ValueKey::random()?,
            versions: Versions::default(),
        }))
    }

    /// Signs in, unless there is a valid token. Returns the remaining time of its lease; `None` if
    /// it has no end.
    ///
    /// # Errors
    /// Vault is unavailable or refuses the sign-in.
    pub async fn sign_in(&self) -> Result<Option<Duration>, VaultError> {
        Ok(self.session.lease().await?.remaining())
    }

    /// Checks whether Vault responds, without signing in. Returns the response's `Date` (RFC 9110
    /// section 6.6.1), if it has one.
    ///
    /// # Errors
    /// Vault is unreachable, sealed or failing.
    pub async fn date(&self) -> Result<Option<String>, VaultError> {
        self.session.date().await
    }

    /// The cached KV mount that contains `path`.
    pub fn known_mount(&self, path: &str) -> Option<Mount> {
        self.mounts.known(path)
    }

    /// The KV mount that contains the secret at `path`; `None` if Vault does not tell: nothing is
    /// mounted there, or the token's policies name nothing in it.
    ///
    /// # Errors
    /// Vault is unavailable, or the mount is not a KV engine.
    pub async fn mount_of(&self, path: &str) -> Result<Option<Mount>, SourceError> {
        self.mounts.ask(&self.session, path).await
    }

    /// Reads `path`, such as `transit/keys/keyside-acme`. Returns the response's `data`.
    ///
    /// # Errors
    /// Vault is unavailable, or responds with an error status.
    pub async fn get(&self, path: &str) -> Result<Value, VaultError> {
        self.data(Call::new(Method::GET, path)).await
    }

    /// Writes `body` to `path`, such as `transit/decrypt/keyside-acme`. Returns the response's
    /// `data`, null if there is none.
    ///
    /// # Errors
    /// Vault is unavailable, or responds with an error status.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, VaultError> {
        self.data(Call::new(Method::POST, path).with_body(body))
            .await
    }

    /// Deletes `path`.
    ///
    /// # Errors
    /// Vault is unavailable, or responds with an error status.
    pub async fn delete(&self, path: &str) -> Result<(), VaultError> {
        self.data(Call::new(Method::DELETE, path)).await.map(drop)
    }

    async fn data(&self, call: Call) -> Result<Value, VaultError> {
        #[derive(Deserialize)]
        struct Envelope {
            #[serde(default)]
            data: Value,
        }
        let answer = self.session.call(&call).await?.accepted(&call)?;
        match answer.body.is_empty() {
            true => Ok(Value::Null),
            false => answer.read::<Envelope>(&call).map(|envelope| envelope.data),
        }
    }

    pub(crate) async fn answer(&self, call: &Call) -> Result<Answer, VaultError> {
        self.session.call(call).await
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("address", &self.session.address())
            .finish_non_exhaustive()
    }
}
