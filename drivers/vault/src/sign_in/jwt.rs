//! Signs in with a JWT: a pod's service account token (method `kubernetes`), or one of another
//! issuer (`jwt`). Both methods take the same request.

use std::path::Path;

use serde::Serialize;

use super::{Login, shown};
use crate::{client::Http, error::VaultError, lease::IssuedToken, secret_file};

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    jwt: &'a str,
}

pub(super) async fn sign_in(
    http: &Http,
    mount: &str,
    role: Option<&str>,
    file: &Path,
) -> Result<IssuedToken, VaultError> {
    let jwt = secret_file::read("vault.jwt_file", file).await?;
    let login = Login {
        mount,
        look_at: format!(
            "{}, the JWT in {} (vault.jwt_file)",
            shown(role),
            file.display()
        ),
        secret: &jwt,
    };
    login.send(http, &Body { role, jwt: &jwt }).await
}
