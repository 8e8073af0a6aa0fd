//! HashiCorp Vault and OpenBao: signs in once a process, keeps the token alive, and reads secrets for those who follow them.
//!
//! The way of a read: `kv` turns a reference into requests, with the mount from `mounts`; `session` attaches a token
//! that is alive, and decides what a 403 means; `client` sends. No request of a runner ever waits for this crate.
//!
//! vaultrs gives the requests (path, method, query) that carry no secret; sending them and reading the answers is done here.
//! Its own client cannot add a header to a request, panics on a token with a line break in it, writes up to three log lines at
//! ERROR for each expected 403 or 404, and keeps tokens, secrets and whole answers in plain strings and in errors with `Debug`.
//! Requests that carry a secret (sign-in, unwrapping) are built here too: rustify leaves a copy of the body in freed memory.
//!
//! A rustls crypto provider must be installed in the process before [`Vault::open`].

#![deny(missing_docs)]

mod client;
mod error;
mod kv;
mod lease;
mod mounts;
mod secret_file;
mod session;
mod sign_in;
#[cfg(test)]
mod stand_in;
mod transit;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use keyside_credentials::source::{Reading, SecretSource, SourceError, VaultReference};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

pub use crate::error::{Answered, VaultError};
pub use crate::mounts::{KvVersion, Mount};
pub use crate::transit::Transit;
use crate::{
    client::{Answer, Call, Http},
    kv::ValueKey,
    mounts::Mounts,
    session::Session,
    sign_in::SignIn,
};

/// A Vault, signed in to when it is first needed. All readers of a process share one.
pub struct Vault {
    session: Arc<Session>,
    mounts: Mounts,
    value_key: ValueKey,
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
        mounts::ask(self, path).await
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

    async fn answer(&self, call: &Call) -> Result<Answer, VaultError> {
        self.session.call(call).await
    }
}

#[async_trait]
impl SecretSource for Vault {
    async fn read(
        &self,
        reference: &VaultReference,
        known: Option<&str>,
    ) -> Result<Reading, SourceError> {
        kv::read(self, reference, known).await
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("address", &self.session.address())
            .finish_non_exhaustive()
    }
}
