//! Signs in to Vault, by the method that the settings choose: a credential from a file or a certificate for a token with a lease.

mod approle;
mod certificate;
mod jwt;
mod token;

use std::{sync::Arc, time::Duration};

use keyside_config::VaultAuth;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use self::approle::Unwrapped;
use crate::{
    client::{Answer, Call, Http},
    error::{VaultError, single_line},
    lease::{IssuedToken, Token},
};

/// The way to sign in, with what it has to remember between two times.
pub(crate) struct SignIn {
    auth: VaultAuth,
    unwrapped: Arc<Unwrapped>,
}

/// A sign-in at an auth method: what it sends, and what to look at when Vault does not accept it.
struct Login<'a> {
    mount: &'a str,
    /// The settings and files that decide it, in words.
    look_at: String,
    /// Never to be repeated, should Vault do so.
    secret: &'a str,
}

impl SignIn {
    pub(crate) fn new(auth: &VaultAuth) -> Self {
        Self {
            auth: auth.clone(),
            unwrapped: Arc::default(),
        }
    }

    /// One attempt. Files are read each time, because what is in them changes.
    ///
    /// # Errors
    /// Vault is away, or does not accept it: [`VaultError::SignIn`] with the settings to look at.
    pub(crate) async fn sign_in(&self, http: &Arc<Http>) -> Result<IssuedToken, VaultError> {
        match &self.auth {
            VaultAuth::Kubernetes {
                mount,
                role,
                jwt_file,
            } => jwt::sign_in(http, mount, Some(role), jwt_file).await,
            VaultAuth::Jwt {
                mount,
                role,
                jwt_file,
            } => jwt::sign_in(http, mount, role.as_deref(), jwt_file).await,
            VaultAuth::AppRole {
                mount,
                role_id,
                secret_id_file,
                secret_id_wrapped,
            } => {
                let file = approle::SecretIdFile {
                    path: secret_id_file,
                    wrapped: *secret_id_wrapped,
                };
                approle::sign_in(http, mount, role_id, file, &self.unwrapped).await
            }
            VaultAuth::Token(source) => token::sign_in(http, source).await,
            VaultAuth::Certificate { mount, role } => {
                certificate::sign_in(http, mount, role.as_deref()).await
            }
        }
    }
}

impl Login<'_> {
    async fn send(self, http: &Http, body: &impl Serialize) -> Result<IssuedToken, VaultError> {
        let path = format!("auth/{}/login", self.mount);
        let call = Call::new(Method::POST, &path).with_body(body);
        let answer = http.send(None, &call).await?;
        match answer.is_success() {
            true => grant(&answer, &call),
            false => Err(self.refused(&answer, &call)),
        }
    }

    fn refused(&self, answer: &Answer, call: &Call) -> VaultError {
        let mut answered = answer.answered(call);
        answered
            .errors
            .retain(|said| self.secret.is_empty() || !said.contains(self.secret));
        VaultError::SignIn(format!(
            "Vault did not accept the sign-in: it answered {answered}. Check {}, vault.auth_mount and vault.namespace",
            self.look_at
        ))
    }
}

/// The `auth` of an answer to a sign-in.
#[derive(Deserialize)]
struct Envelope {
    auth: Option<AuthOfAnswer>,
}

#[derive(Deserialize)]
struct AuthOfAnswer {
    client_token: Zeroizing<String>,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

fn grant(answer: &Answer, call: &Call) -> Result<IssuedToken, VaultError> {
    let auth = auth_of(answer, call)?;
    Ok(IssuedToken {
        duration: seconds(auth.lease_duration),
        renewable: auth.renewable,
        token: Token::new(auth.client_token)?,
    })
}

/// How long the token of an answer to a renewal lives now.
pub(crate) fn renewed_for(answer: &Answer, call: &Call) -> Result<Option<Duration>, VaultError> {
    auth_of(answer, call).map(|auth| seconds(auth.lease_duration))
}

fn auth_of(answer: &Answer, call: &Call) -> Result<AuthOfAnswer, VaultError> {
    let envelope: Envelope = answer.read(call)?;
    // Vault may ask for a second factor instead of giving a token.
    envelope
        .auth
        .ok_or_else(|| VaultError::Malformed(call.name()))
}

/// 0 is a token that does not end.
fn seconds(duration: u64) -> Option<Duration> {
    (duration > 0).then(|| Duration::from_secs(duration.min(MAX_LEASE_SECONDS)))
}

/// Ten years: more would overflow the clock that it is added to.
const MAX_LEASE_SECONDS: u64 = 10 * 365 * 24 * 3600;

/// A role as messages show it.
fn shown(role: Option<&str>) -> String {
    match role {
        Some(role) => format!("vault.role (\"{}\")", single_line(role)),
        None => "vault.role (none is set)".to_owned(),
    }
}
