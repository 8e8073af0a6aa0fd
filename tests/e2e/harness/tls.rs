//! A test certificate authority, and fake providers with TLS under it.

use std::{
    fs, io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{
    Builder, Keyside, PATIENCE, Wire,
    upstream::{Accept, Line, Seen, Stream, Then, Upstream},
};

/// An authority that is not trusted by default.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate's validity, in years.
#[derive(Clone, Copy, Debug)]
pub struct Years(pub i32, pub i32);

/// Valid during any test run.
pub const VALID: Years = Years(2020, 2120);

/// A certificate with its key, ready to serve.
pub struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Keyside's tests");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Writes its certificate into a file, for `SSL_CERT_FILE`.
    pub fn file_in(&self, folder: &Path) -> PathBuf {
        let file = folder.join("authority.pem");
        fs::write(&file, &self.pem).expect("a writable folder");
        file
    }

    /// Settings for a Keyside that trusts this authority alone, with OpenAI at `base_url`.
    pub fn trusted_at(&self, base_url: &str) -> Builder {
        let builder = Keyside::builder().provider("openai", base_url);
        let file = self.file_in(builder.home());
        builder.variable("SSL_CERT_FILE", file.to_str().expect("a plain path"))
    }

    /// Issues a certificate for these names.
    pub fn issue(&self, names: &[&str], years: Years) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = leaf(names, years)
            .signed_by(&key, &self.issuer)
            .expect("a certificate");
        Identity { certificate, key }
    }

    /// Connects to a listener, whose certificate must be for `name` and from this authority.
    pub fn connect(&self, address: SocketAddr, name: &str) -> io::Result<Wire> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the default versions")
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let session = ClientConnection::new(Arc::new(config), name);
        let mut session = session.map_err(io::Error::other)?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Wire::tls(StreamOwned::new(session, stream)))
    }

    fn roots(&self) -> RootCertStore {
        let certificate = CertificateDer::from_pem_slice(self.pem.as_bytes());
        let mut roots = RootCertStore::empty();
        let added = roots.add(certificate.expect("a certificate"));
        added.expect("an authority");
        roots
    }
}

impl Identity {
    /// A self-signed certificate.
    pub fn self_signed(names: &[&str]) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = leaf(names, VALID).self_signed(&key).expect("a certificate");
        Self { certificate, key }
    }

    /// Its certificate and its key, in PEM form.
    pub fn pem(&self) -> (String, String) {
        (self.certificate.pem(), self.key.serialize_pem())
    }

    /// A server's settings with this identity, offering these protocols.
    pub fn server(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        self.server_to(WebPkiClientVerifier::no_client_auth(), protocols)
    }

    fn server_to(
        &self,
        clients: Arc<dyn ClientCertVerifier>,
        protocols: &[&str],
    ) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the default versions")
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .expect("a certificate and its key");
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }

    /// A fake provider with this identity and HTTP/1.1.
    pub fn upstream(
        &self,
        script: impl Fn(&Seen, &mut Line) -> Then + Send + Sync + 'static,
    ) -> Upstream {
        Upstream::accepting(accept(self.server(&["http/1.1"])), script)
    }

    /// A fake provider that offers these protocols and passes each connection to `script`.
    pub fn raw_upstream(
        &self,
        protocols: &[&str],
        script: impl Fn(&mut Line) + Send + Sync + 'static,
    ) -> Upstream {
        Upstream::raw_accepting(accept(self.server(protocols)), script)
    }

    /// A fake provider that requires a client certificate from `authority`.
    pub fn upstream_for(&self, authority: &Authority) -> Upstream {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(authority.roots());
        let clients = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let server = self.server_to(clients.build().expect("a verifier"), &["http/1.1"]);
        Upstream::accepting(accept(server), |_, _| Then::Close)
    }
}

fn leaf(names: &[&str], years: Years) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    params
}

fn accept(config: Arc<ServerConfig>) -> Box<Accept> {
    Box::new(move |mut stream: TcpStream| {
        let mut session = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Box::new(StreamOwned::new(session, stream)) as Box<dyn Stream>)
    })
}
