//! One Vault: its session, and what is known of its mounts.

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
};

/// A Vault, signed in to when it is first needed. All readers of a process share one.
pub struct Vault {
    session: Arc<Session>,
    pub(crate) mounts: Mounts,
    pub(crate) value_key: ValueKey,
}

impl Vault {
    /// Reads the certificates that the settings name. Nothing is sent yet.
    ///
    /// # Errors
    /// [`VaultError::Settings`] for a file that cannot be read or holds no certificate.
    pub fn open(settings: &keyside_config::Vault) -> Result<Arc<Self>, VaultError> {
        let http = Arc::new(Http::open(settings)?);
        let sign_in = SignIn::new(&settings.auth);
        Ok(Arc::new(Self {
            session: Arc::new(Session::new(http, sign_in)),
            mounts: Mounts::default(),
            value_key: ValueKey::random()?,
        }))
    }

    /// Signs in, unless there is a token that is alive. Returns how long it lives on without renewal; `None`: for ever.
    ///
    /// # Errors
    /// Vault is away, or does not accept the sign-in.
    pub async fn sign_in(&self) -> Result<Option<Duration>, VaultError> {
        Ok(self.session.lease().await?.remaining())
    }

    /// Asks whether Vault answers, without signing in. Returns the `Date` of its answer (RFC 9110 section 5.6.7), if it has one.
    ///
    /// # Errors
    /// It cannot be reached, is sealed or fails.
    pub async fn date(&self) -> Result<Option<String>, VaultError> {
        self.session.date().await
    }

    /// The KV engine that `path` was found in, without asking.
    pub fn known_mount(&self, path: &str) -> Option<Mount> {
        self.mounts.known(path)
    }

    /// The KV engine that the secret at `path` is in; `None` where Vault does not say: nothing is mounted there, or the token's
    /// policies name nothing in it.
    ///
    /// # Errors
    /// Vault is away, or another kind of engine is mounted there.
    pub async fn mount_of(&self, path: &str) -> Result<Option<Mount>, SourceError> {
        self.mounts.ask(&self.session, path).await
    }

    /// Reads `path`, such as `transit/keys/keyside-acme`: the answer's `data`.
    ///
    /// # Errors
    /// Vault is away, or answers with an error status.
    pub async fn get(&self, path: &str) -> Result<Value, VaultError> {
        self.data(Call::new(Method::GET, path)).await
    }

    /// Writes `body` to `path`, such as `transit/decrypt/keyside-acme`: the answer's `data`, null where there is none.
    ///
    /// # Errors
    /// Vault is away, or answers with an error status.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, VaultError> {
        self.data(Call::new(Method::POST, path).with_body(body))
            .await
    }

    /// Deletes `path`.
    ///
    /// # Errors
    /// Vault is away, or answers with an error status.
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
