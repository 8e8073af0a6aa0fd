//! Signs in with AppRole. A wrapped secret id is cached, because its wrapping token can be used
//! only once.

use std::{path::Path, sync::Arc};

use reqwest::Method;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::Login;
use crate::{
    client::{Call, Http},
    error::VaultError,
    lease::{IssuedToken, Token},
    secret_file,
};

/// The file that contains a secret id, or the wrapping token of one.
pub(super) struct SecretIdFile<'a> {
    pub(super) path: &'a Path,
    pub(super) wrapped: bool,
}

/// The wrapping token that was used last, and its secret id.
pub(super) type Unwrapped = Mutex<Option<(Zeroizing<String>, Zeroizing<String>)>>;

#[derive(Serialize)]
struct Body<'a> {
    role_id: &'a str,
    secret_id: &'a str,
}

pub(super) async fn sign_in(
    http: &Arc<Http>,
    mount: &str,
    role_id: &str,
    file: SecretIdFile<'_>,
    unwrapped: &Arc<Unwrapped>,
) -> Result<IssuedToken, VaultError> {
    let read = secret_file::read("vault.secret_id_file", file.path).await?;
    let secret_id = match file.wrapped {
        false => read,
        true => unwrap(http, file.path, read, unwrapped).await?,
    };
    let login = Login {
        mount,
        look_at: format!(
            "vault.role_id, the secret id from {} (vault.secret_id_file; it may have expired or been used up)",
            file.path.display()
        ),
        secret: &secret_id,
    };
    let body = Body {
        role_id,
        secret_id: &secret_id,
    };
    login.send(http, &body).await
}

/// Exchanges a wrapping token for the secret id. Runs to completion even if the caller is
/// cancelled, because the wrapping token cannot be used again.
async fn unwrap(
    http: &Arc<Http>,
    path: &Path,
    wrapping: Zeroizing<String>,
    unwrapped: &Arc<Unwrapped>,
) -> Result<Zeroizing<String>, VaultError> {
    let (http, path, unwrapped) = (http.clone(), path.to_owned(), unwrapped.clone());
    let asked = tokio::spawn(async move {
        let mut last = unwrapped.lock().await;
        if let Some((token, secret_id)) = &*last
            && **token == *wrapping
        {
            return Ok(secret_id.clone());
        }
        let secret_id = ask(&http, &path, &wrapping).await?;
        *last = Some((wrapping, secret_id.clone()));
        Ok::<_, VaultError>(secret_id)
    });
    let gone = |_| VaultError::SignIn("unwrapping the secret id was interrupted".to_owned());
    asked.await.map_err(gone)?
}

async fn ask(http: &Http, path: &Path, wrapping: &str) -> Result<Zeroizing<String>, VaultError> {
    #[derive(Deserialize)]
    struct Envelope {
        data: SecretId,
    }
    #[derive(Deserialize)]
    struct SecretId {
        secret_id: Zeroizing<String>,
    }
    let call = Call::new(Method::POST, "sys/wrapping/unwrap");
    let token = Token::new(Zeroizing::new(wrapping.to_owned()))?;
    let answer = http.send(Some(token.header()), &call).await?;
    if !answer.is_success() {
        return Err(VaultError::SignIn(format!(
            "the wrapping token in {} (vault.secret_id_file) is not valid: it has expired, or was used already, perhaps by someone \
             else. Put a new wrapped secret id there; without wrapping, set vault.secret_id_wrapped = false",
            path.display()
        )));
    }
    let envelope: Envelope = answer.read(&call).map_err(|_| {
        VaultError::SignIn(format!(
            "the wrapping token in {} (vault.secret_id_file) does not wrap a secret id",
            path.display()
        ))
    })?;
    Ok(envelope.data.secret_id)
}
