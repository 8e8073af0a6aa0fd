//! Reads the certificate authorities that upstreams are verified against. Runs once at start.

use std::{env, ffi::OsStr, fs, path::Path};

use keyside_credentials::read_regular;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::EgressError;

/// The certificates of `egress.ca_file`, which are trusted on every route.
pub(super) struct AddedRoots(RootCertStore);

impl AddedRoots {
    /// Empty if no file is configured.
    pub(super) fn read(path: Option<&Path>) -> Result<Self, EgressError> {
        let mut roots = RootCertStore::empty();
        let Some(path) = path else {
            return Ok(Self(roots));
        };
        let pem = read_regular(path).map_err(|source| EgressError::Unreadable {
            setting: "egress.ca_file",
            path: path.to_owned(),
            source,
        })?;
        let refused = || EgressError::NotAnAuthority(path.to_owned());
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| refused())?;
            roots.add(certificate).map_err(|_| refused())?;
        }
        match roots.is_empty() {
            true => Err(refused()),
            false => Ok(Self(roots)),
        }
    }

    fn add_to(&self, roots: &mut RootCertStore) {
        roots.extend(self.0.roots.iter().cloned());
    }
}

/// The system's certificates, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
pub(super) fn system(added: &AddedRoots) -> Result<RootCertStore, EgressError> {
    if let Some(file) = env::var_os(CERTIFICATE_FILE) {
        expect_certificates(Path::new(&file))?;
    }
    if let Some(folders) = env::var_os(CERTIFICATE_FOLDERS) {
        expect_folders(&folders)?;
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    added.add_to(&mut roots);
    match roots.is_empty() {
        true => {
            let why: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
            Err(EgressError::NoRoots(why.join("; ")))
        }
        false => Ok(roots),
    }
}

/// Without this check, an `SSL_CERT_FILE` without certificates would make every TLS connection fail
/// without naming the cause.
fn expect_certificates(path: &Path) -> Result<(), EgressError> {
    let unusable = |reason: String| EgressError::Authorities {
        variable: CERTIFICATE_FILE,
        reason,
    };
    if path.as_os_str().is_empty() {
        return Err(unusable("it is empty".to_owned()));
    }
    let shown = path.display();
    let pem = read_regular(path);
    let pem = pem.map_err(|source| unusable(format!("cannot read {shown}: {source}")))?;
    match CertificateDer::pem_slice_iter(&pem).any(|certificate| certificate.is_ok()) {
        true => Ok(()),
        false => Err(unusable(format!(
            "{shown} contains no certificate in PEM form"
        ))),
    }
}

/// The same for the folders of `SSL_CERT_DIR`. They may be empty, but must be readable.
fn expect_folders(paths: &OsStr) -> Result<(), EgressError> {
    let named = env::split_paths(paths).filter(|path| !path.as_os_str().is_empty());
    for path in named {
        if let Err(source) = fs::read_dir(&path) {
            return Err(EgressError::Authorities {
                variable: CERTIFICATE_FOLDERS,
                reason: format!("cannot read {}: {source}", path.display()),
            });
        }
    }
    Ok(())
}

/// Mozilla's root certificates, which are built in. The certificate authority of a TLS-inspecting
/// proxy is not among them.
pub(super) fn public(added: &AddedRoots) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    added.add_to(&mut roots);
    roots
}

const CERTIFICATE_FILE: &str = "SSL_CERT_FILE";
const CERTIFICATE_FOLDERS: &str = "SSL_CERT_DIR";
