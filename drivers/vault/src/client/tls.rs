//! TLS to Vault: the certificate authorities of the settings or of the system, our client
//! certificate, and what to do if TLS fails.

use std::{fs, io, path::Path};

use keyside_config::{Scheme, Vault};
use keyside_credentials::read_regular;
use reqwest::{Certificate, ClientBuilder, Identity};
use zeroize::Zeroizing;

use crate::error::VaultError;

/// Configures authorities and the client certificate. As in Vault's own tools, configured
/// authorities replace the system's.
pub(super) fn configure(
    builder: ClientBuilder,
    settings: &Vault,
) -> Result<ClientBuilder, VaultError> {
    let builder = builder.tls_backend_rustls();
    if settings.address.scheme == Scheme::Http {
        // Without this, building the client fails on a machine that has no certificate authorities.
        return Ok(builder.tls_certs_only([]));
    }
    let authorities = authorities(settings)?;
    let builder = match authorities.is_empty() {
        true => builder,
        false => builder.tls_certs_only(authorities),
    };
    match identity(settings)? {
        Some(identity) => Ok(builder.identity(identity)),
        None => Ok(builder),
    }
}

/// Explains a failure of TLS, with the setting to check; `None` if `why` is about something else.
pub(super) fn explain(why: &str, settings: &Vault) -> Option<VaultError> {
    let address = &settings.address;
    let has = |texts: &[&str]| texts.iter().any(|text| why.contains(text));
    let said = if has(&["UnknownIssuer", "self-signed", "SelfSigned"]) {
        format!(
            "the certificate of Vault at {address} is from an authority that is not trusted; name that authority's PEM file in \
             vault.ca_file (VAULT_CACERT)"
        )
    } else if has(&["NotValidForName", "not valid for name"]) {
        format!(
            "the certificate of Vault at {address} is for another name; use that name in vault.address, or set \
             vault.tls_server_name to it"
        )
    } else if has(&["certificate expired", "certificate not valid yet"]) {
        // Not an error of these settings: it passes when the certificate is renewed.
        return Some(VaultError::Unreachable(format!(
            "the certificate of Vault at {address} is not valid now: renew it, or correct the clock of this machine ({why})"
        )));
    } else if has(&["InvalidContentType", "corrupt message"]) {
        format!("{address} does not speak TLS: check scheme and port in vault.address")
    } else if has(&ALERTS_ABOUT_OUR_CERTIFICATE) {
        match settings.client_certificate {
            None => format!(
                "Vault at {address} requires a client certificate: set vault.client_certificate and vault.client_key ({why})"
            ),
            Some(_) => format!(
                "Vault at {address} does not accept the client certificate: renew it, or correct vault.client_certificate and \
                 vault.client_key ({why})"
            ),
        }
    } else {
        return None;
    };
    Some(VaultError::Tls(said))
}

fn authorities(settings: &Vault) -> Result<Vec<Certificate>, VaultError> {
    let mut found = Vec::new();
    if let Some(file) = &settings.ca_file {
        found.extend(certificates("vault.ca_file", file)?);
    }
    if let Some(folder) = &settings.ca_path {
        let wrong = |error: io::Error| unreadable("vault.ca_path", folder, &error);
        for entry in fs::read_dir(folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            if path.is_file() {
                found.extend(certificates("vault.ca_path", &path)?);
            }
        }
    }
    Ok(found)
}

fn certificates(setting: &str, file: &Path) -> Result<Vec<Certificate>, VaultError> {
    let pem = read_regular(file).map_err(|error| unreadable(setting, file, &error))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(VaultError::Settings(format!(
            "{setting}: {} holds no certificate in PEM form",
            file.display()
        ))),
    }
}

fn identity(settings: &Vault) -> Result<Option<Identity>, VaultError> {
    let Some(client) = &settings.client_certificate else {
        return Ok(None);
    };
    let read = |setting: &str, file: &Path| {
        let pem = read_regular(file).map(Zeroizing::new);
        pem.map_err(|error| unreadable(setting, file, &error))
    };
    let certificate = read("vault.client_certificate", &client.certificate)?;
    let key = read("vault.client_key", &client.key)?;
    let mut pem = Zeroizing::new(Vec::with_capacity(certificate.len() + key.len() + 1));
    pem.extend_from_slice(&certificate);
    pem.push(b'\n');
    pem.extend_from_slice(&key);
    Identity::from_pem(&pem).map(Some).map_err(|_| {
        VaultError::Settings(format!(
            "vault.client_certificate, vault.client_key: {} and {} hold no certificate and private key in PEM form",
            client.certificate.display(),
            client.key.display()
        ))
    })
}

fn unreadable(setting: &str, path: &Path, error: &io::Error) -> VaultError {
    VaultError::Settings(format!(
        "{setting}: cannot read {}: {error}",
        path.display()
    ))
}

/// As rustls names them (RFC 8446 section 6.2). Go sends `BadCertificate` in TLS 1.2 if there is none.
const ALERTS_ABOUT_OUR_CERTIFICATE: [&str; 9] = [
    "alert: AccessDenied",
    "alert: BadCertificate",
    "alert: CertificateExpired",
    "alert: CertificateRequired",
    "alert: CertificateRevoked",
    "alert: CertificateUnknown",
    "alert: HandshakeFailure",
    "alert: UnknownCA",
    "alert: UnsupportedCertificate",
];
