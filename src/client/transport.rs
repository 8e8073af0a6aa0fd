//! The HTTP client: plaintext, or TLS with a certificate that is trusted.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::body::Bytes;
use http_body_util::Full;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use keyside_config::{BaseUrl, Scheme};
use keyside_credentials::read_regular;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use super::ClientError;

pub(super) type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Which servers are trusted over https.
pub(crate) enum Trust {
    /// Servers with a certificate of these authorities.
    Authorities(Authorities),
    /// Any server: for the health of the process on this machine. The request carries no secret, and
    /// the answer is public.
    Anyone,
}

/// The certificate authorities that are trusted; by default the system's.
#[derive(Default)]
pub(crate) struct Authorities {
    /// A PEM file of authorities that replace the system's.
    pub(crate) instead: Option<PathBuf>,
    /// A PEM file of authorities beside the others.
    pub(crate) besides: Option<PathBuf>,
    /// The name that the server's certificate must be for; `None` means the address's host.
    pub(crate) name: Option<String>,
}

impl Default for Trust {
    fn default() -> Self {
        Self::Authorities(Authorities::default())
    }
}

/// A client for one server. Reads certificates only for HTTPS, because that takes longer than the
/// request.
pub(super) fn http_client(base: &BaseUrl, trust: &Trust) -> Result<Http, ClientError> {
    Ok(match (base.scheme, trust) {
        (Scheme::Http, _) => with_roots(RootCertStore::empty(), None),
        (Scheme::Https, Trust::Authorities(authorities)) => {
            let name = authorities.name.as_deref().map(server_name);
            with_roots(authorities.roots()?, name.transpose()?)
        }
        (Scheme::Https, Trust::Anyone) => connecting(trusting_anyone(), None),
    })
}

/// A client that trusts these certificate authorities, for `name` or the address's host.
pub(super) fn with_roots(roots: RootCertStore, name: Option<ServerName<'static>>) -> Http {
    let tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    connecting(tls, name)
}

fn connecting(tls: ClientConfig, name: Option<ServerName<'static>>) -> Http {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    let connector = match name {
        Some(name) => connector.with_server_name_resolver(FixedServerNameResolver::new(name)),
        None => connector,
    };
    Client::builder(TokioExecutor::new()).build(connector.enable_http1().build())
}

fn server_name(name: &str) -> Result<ServerName<'static>, ClientError> {
    ServerName::try_from(name.to_owned()).map_err(|_| ClientError::InvalidAddress)
}

impl Authorities {
    fn roots(&self) -> Result<RootCertStore, ClientError> {
        let roots = match &self.instead {
            Some(path) => added(RootCertStore::empty(), path, read_named(path))?,
            None => system_roots(),
        };
        match &self.besides {
            Some(path) => added(roots, path, read_regular(path)),
            None => Ok(roots),
        }
    }
}

/// Reads a file that the person who runs the command has named, and that may be a pipe.
fn read_named(path: &Path) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    let read = File::open(path)?.take(MAX_PEM + 1).read_to_end(&mut pem)?;
    match read as u64 > MAX_PEM {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(pem),
    }
}

/// `roots`, and the certificates in a PEM file.
fn added(
    mut roots: RootCertStore,
    path: &Path,
    pem: io::Result<Vec<u8>>,
) -> Result<RootCertStore, ClientError> {
    let unusable = |reason: String| ClientError::Authorities {
        path: path.to_owned(),
        reason,
    };
    let pem = pem.map_err(|error| unusable(error.to_string()))?;
    let none = || unusable("no certificates of authorities in PEM form".to_owned());
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| none())?;
        roots.add(certificate).map_err(|_| none())?;
    }
    match roots.len() == before {
        true => Err(none()),
        false => Ok(roots),
    }
}

/// The system's certificates, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`. A certificate that
/// cannot be read is not trusted.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn trusting_anyone() -> ClientConfig {
    ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(ring::default_provider())))
        .with_no_client_auth()
}

/// Accepts any certificate, and still checks that the server has its key.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let supported = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, supported)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let supported = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, supported)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Bytes: several times the system's list of authorities.
const MAX_PEM: u64 = 4 << 20;
