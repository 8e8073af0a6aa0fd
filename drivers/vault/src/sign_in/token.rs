//! Uses a token that was created elsewhere, and asks Vault for its lease.

use std::{env, path::Path};

use keyside_config::VaultToken;
use serde::Deserialize;
use vaultrs::api::token::requests::LookupTokenSelfRequest;
use zeroize::Zeroizing;

use super::seconds;
use crate::{
    client::{Call, Http},
    error::VaultError,
    lease::{IssuedToken, Token},
    secret_file,
};

pub(super) async fn sign_in(http: &Http, source: &VaultToken) -> Result<IssuedToken, VaultError> {
    #[derive(Deserialize)]
    struct Envelope {
        data: Lookup,
    }
    #[derive(Deserialize)]
    struct Lookup {
        #[serde(default)]
        ttl: u64,
        #[serde(default)]
        renewable: bool,
    }
    let (text, place) = match source {
        VaultToken::File(path) => (
            secret_file::read("vault.token_file", path).await?,
            shown(path),
        ),
        VaultToken::Variable => (variable()?, "VAULT_TOKEN".to_owned()),
    };
    let token = Token::new(text)?;
    let call = Call::of(&LookupTokenSelfRequest {});
    let answer = http.send(Some(token.header()), &call).await?;
    if !answer.is_success() {
        let answered = answer.error_response(&call);
        return Err(VaultError::SignIn(format!(
            "the Vault token in {place} is not accepted: Vault answered {answered}. It has expired, was revoked, is of another \
             namespace (vault.namespace), or has a policy without `read` on auth/token/lookup-self"
        )));
    }
    let found: Envelope = answer.read(&call)?;
    Ok(IssuedToken {
        token,
        duration: seconds(found.data.ttl),
        renewable: found.data.renewable,
    })
}

fn shown(path: &Path) -> String {
    format!("{} (vault.token_file)", path.display())
}

fn variable() -> Result<Zeroizing<String>, VaultError> {
    let held = env::var("VAULT_TOKEN").map(Zeroizing::new);
    match held.as_ref().map(|text| text.trim()) {
        Ok(token) if !token.is_empty() => Ok(Zeroizing::new(token.to_owned())),
        _ => Err(VaultError::SignIn(
            "VAULT_TOKEN contains no token; use vault.token_file, which is safer".to_owned(),
        )),
    }
}
