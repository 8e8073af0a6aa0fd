//! The HTTP client: plaintext, or TLS with the certificates that this system trusts.

use axum::body::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use keyside_config::{BaseUrl, Scheme};
use rustls::{ClientConfig, RootCertStore};

/// The HTTP client.
pub(super) type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client for one server. Loads the system's certificates only for HTTPS, because that takes
/// longer than the request.
pub(super) fn http_client(base: &BaseUrl) -> Http {
    with_roots(match base.scheme {
        Scheme::Http => RootCertStore::empty(),
        Scheme::Https => system_roots(),
    })
}

/// A client that trusts these certificate authorities.
pub(super) fn with_roots(roots: RootCertStore) -> Http {
    // Fails only if it is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .build();
    Client::builder(TokioExecutor::new()).build(connector)
}

/// The system's certificates, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`. A certificate that
/// cannot be read is not trusted.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
