//! Signs in to Vault by the configured method: exchanges a credential from a file, or a
//! certificate, for a token with a lease.

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

/// The configured method, with its state between two sign-ins.
pub(crate) struct SignIn {
    auth: VaultAuth,
    unwrapped: Arc<Unwrapped>,
}

/// A sign-in request, and what to check if Vault refuses it.
struct Login<'a> {
    mount: &'a str,
    /// The settings and files that determine it, for the error text.
    look_at: String,
    /// The credential, which is redacted from Vault's response.
    secret: &'a str,
}

impl SignIn {
    pub(crate) fn new(auth: &VaultAuth) -> Self {
        Self {
            auth: auth.clone(),
            unwrapped: Arc::default(),
        }
    }

    /// Signs in once. Reads files each time, because they change.
    ///
    /// # Errors
    /// Vault is unavailable or refuses the sign-in: [`VaultError::SignIn`] names the settings to
    /// check.
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
        let mut answered = answer.error_response(call);
        // A long error was truncated, perhaps in the middle of the credential.
        let beginning = self.secret.get(..REDACTED_FROM).unwrap_or(self.secret);
        answered
            .errors
            .retain(|said| beginning.is_empty() || !said.contains(beginning));
        VaultError::SignIn(format!(
            "Vault did not accept the sign-in: it answered {answered}. Check {}, vault.auth_mount and vault.namespace",
            self.look_at
        ))
    }
}

/// The `auth` object of a response to a sign-in.
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

/// The token's new duration, from a response to a renewal.
pub(crate) fn renewed_for(answer: &Answer, call: &Call) -> Result<Option<Duration>, VaultError> {
    auth_of(answer, call).map(|auth| seconds(auth.lease_duration))
}

fn auth_of(answer: &Answer, call: &Call) -> Result<AuthOfAnswer, VaultError> {
    let envelope: Envelope = answer.read(call)?;
    // Vault may require a second factor instead of returning a token.
    envelope
        .auth
        .ok_or_else(|| VaultError::Malformed(call.name()))
}

/// How much of a credential in an error is enough to leave the error out, in bytes.
const REDACTED_FROM: usize = 8;

/// 0 means a token without an end.
fn seconds(duration: u64) -> Option<Duration> {
    (duration > 0).then(|| Duration::from_secs(duration.min(MAX_LEASE_SECONDS)))
}

/// Ten years, in seconds. A longer lease would overflow the clock it is added to.
const MAX_LEASE_SECONDS: u64 = 10 * 365 * 24 * 3600;

/// A role, for messages.
fn shown(role: Option<&str>) -> String {
    match role {
        Some(role) => format!("vault.role (\"{}\")", single_line(role)),
        None => "vault.role (none is set)".to_owned(),
    }
}
