//! Connections: plaintext, or TLS under the certificates that this system trusts.

use axum::body::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use keyside_config::{BaseUrl, Scheme};
use rustls::{ClientConfig, RootCertStore};

/// What sends a request.
pub(super) type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// For one server. The system's certificates are only read where they are needed: that takes longer than the request.
pub(super) fn http_client(base: &BaseUrl) -> Http {
    with_roots(match base.scheme {
        Scheme::Http => RootCertStore::empty(),
        Scheme::Https => system_roots(),
    })
}

/// For servers under these authorities.
pub(super) fn with_roots(roots: RootCertStore) -> Http {
    // An error only says that it is installed already.
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

/// `SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded. What cannot be read is left out, and what is under it not trusted.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
