//! Signs in with the connection's client certificate.

use serde::Serialize;

use super::{Login, shown};
use crate::{client::Http, error::VaultError, lease::IssuedToken};

/// vaultrs names the field `cert_name`, which Vault does not know.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

pub(super) async fn sign_in(
    http: &Http,
    mount: &str,
    role: Option<&str>,
) -> Result<IssuedToken, VaultError> {
    // Client certificates are often valid for hours, and replaced on disk.
    http.reload_certificates().await?;
    let login = Login {
        mount,
        look_at: format!("{}, vault.client_certificate", shown(role)),
        secret: "",
    };
    login.send(http, &Body { name: role }).await
}
