//! The certificate of a listener: read at start, and again whenever its files change.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use keyside_config::ListenerTls;
use keyside_credentials::read_small;
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{task::spawn_blocking, time::sleep};
use zeroize::Zeroizing;

use crate::unreadable;

/// A listener's certificate and private key.
pub(crate) struct ServerTls {
    /// `admin.tls` or `observe.tls`.
    setting: &'static str,
    files: ListenerTls,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    /// What the files contained at the last poll.
    polled: Digest,
    /// The content that was loaded or refused last.
    judged: Digest,
    /// Why `judged` is not in use.
    fault: Option<String>,
}

/// The files' content, or the error that reading them gave. Only tells one content from another: who
/// writes the files can choose any certificate anyway.
type Digest = u64;

/// Why a certificate cannot be used. Contains nothing of the files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file is missing, unreadable or far too large.
    #[error("{setting}.{key}: cannot read {}: {source}; {remedy}", path.display())]
    Unreadable {
        setting: &'static str,
        key: &'static str,
        path: PathBuf,
        source: io::Error,
        remedy: String,
    },
    /// The certificate file contains no certificate, or something that is none.
    #[error(
        "{setting}.certificate_file: {} is not a list of certificates in PEM form; write the \
         server's certificate into it, then its intermediates", path.display()
    )]
    NoCertificate {
        setting: &'static str,
        path: PathBuf,
    },
    /// The key file contains no key, or an encrypted one.
    #[error(
        "{setting}.key_file: {} contains no private key in PEM form, or an encrypted one; write an \
         unencrypted key into it", path.display()
    )]
    NoKey {
        setting: &'static str,
        path: PathBuf,
    },
    /// rustls refuses the pair.
    #[error(
        "{setting}: the certificate and the key cannot be used: {source}; certificate_file must \
         begin with the certificate of the key in key_file"
    )]
    Unusable {
        setting: &'static str,
        source: rustls::Error,
    },
}

impl ServerTls {
    /// Reads the certificate and the key that `setting` names.
    pub(super) fn open(setting: &'static str, files: &ListenerTls) -> Result<Arc<Self>, TlsError> {
        let pem = Pem::read(setting, files);
        let digest = digest(&pem);
        let state = State {
            config: pem?.config(setting, files)?,
            polled: digest,
            judged: digest,
            fault: None,
        };
        Ok(Arc::new(Self {
            setting,
            files: files.clone(),
            state: Mutex::new(state),
        }))
    }

    /// What a new connection uses.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.state.lock().config.clone()
    }

    /// Why the content of the files is not in use; `None` if it is.
    pub(super) fn fault(&self) -> Option<String> {
        self.state.lock().fault.clone()
    }

    /// Polls the files until it is dropped.
    pub(super) async fn follow(self: Arc<Self>) {
        loop {
            sleep(POLL).await;
            let tls = self.clone();
            // Reading blocks; on a network file system, for long.
            let _ = spawn_blocking(move || tls.poll()).await;
        }
    }

    /// Loads a content that was read twice in a row, so that files which are being written, or
    /// replaced one after the other, are not judged half way. One that cannot be used leaves the
    /// certificate before it in use.
    fn poll(&self) {
        let setting = self.setting;
        let pem = Pem::read(setting, &self.files);
        let digest = digest(&pem);
        {
            let mut state = self.state.lock();
            let is_stable = state.polled == digest;
            state.polled = digest;
            if !is_stable || state.judged == digest {
                return;
            }
        }
        let config = pem.and_then(|pem| pem.config(setting, &self.files));
        let mut state = self.state.lock();
        state.judged = digest;
        match config {
            Ok(config) => {
                state.config = config;
                state.fault = None;
                tracing::info!(setting, "the certificate was replaced");
            }
            Err(error) => {
                tracing::error!(%error, "the new certificate is not used; the one before it stays in use");
                state.fault = Some(error.to_string());
            }
        }
    }
}

/// The content of the two files.
struct Pem {
    certificate: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
}

impl Pem {
    fn read(setting: &'static str, files: &ListenerTls) -> Result<Self, TlsError> {
        let read = |key, path: &Path| {
            read(path).map_err(|source| TlsError::Unreadable {
                setting,
                key,
                path: path.to_owned(),
                source,
                remedy: unreadable::remedy(path),
            })
        };
        Ok(Self {
            certificate: read("certificate_file", &files.certificate_file)?,
            key: read("key_file", &files.key_file)?,
        })
    }

    fn config(
        &self,
        setting: &'static str,
        files: &ListenerTls,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let no_certificate = || TlsError::NoCertificate {
            setting,
            path: files.certificate_file.clone(),
        };
        let chain =
            CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| no_certificate())?;
        if chain.is_empty() {
            return Err(no_certificate());
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::NoKey {
            setting,
            path: files.key_file.clone(),
        })?;
        let unusable = |source| TlsError::Unusable { setting, source };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Reads a file that is not larger than any certificate.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let bytes = read_small(path, SIZE_LIMIT)?;
    match bytes.len() > SIZE_LIMIT {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}

fn digest(pem: &Result<Pem, TlsError>) -> Digest {
    let mut hasher = DefaultHasher::new();
    match pem {
        Ok(pem) => (pem.certificate.as_slice(), pem.key.as_slice()).hash(&mut hasher),
        Err(error) => error.to_string().hash(&mut hasher),
    }
    hasher.finish()
}

/// How often the files are read. A change is seen after two polls.
const POLL: Duration = Duration::from_secs(1);
/// In bytes, of each file. A chain of certificates has a few thousand.
const SIZE_LIMIT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// A folder of versions, as Kubernetes mounts a secret: `..data` leads to the current one.
    struct Mount {
        root: tempfile::TempDir,
        files: ListenerTls,
    }

    impl Mount {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let file = |name| root.path().join("..data").join(name);
            let files = ListenerTls {
                certificate_file: file("tls.crt"),
                key_file: file("tls.key"),
            };
            Self { root, files }
        }

        /// Writes a version and swaps the link to it.
        fn put(&self, version: &str, certificate: &str, key: &str) {
            let folder = self.root.path().join(version);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("tls.crt"), certificate).unwrap();
            fs::write(folder.join("tls.key"), key).unwrap();
            let link = self.root.path().join("..data_tmp");
            symlink(version, &link).unwrap();
            fs::rename(link, self.root.path().join("..data")).unwrap();
        }

        fn open(&self) -> Result<Arc<ServerTls>, String> {
            ServerTls::open("admin.tls", &self.files).map_err(|error| error.to_string())
        }
    }

    /// A certificate and its key.
    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_swapped_link_replaces_the_certificate_once_it_was_read_twice() {
        let mount = Mount::new();
        let (certificate, key) = pair();
        mount.put("1", &certificate, &key);
        let tls = mount.open().unwrap();
        let first = tls.config();
        tls.poll();
        assert!(Arc::ptr_eq(&first, &tls.config()), "nothing has changed");

        let (certificate, key) = pair();
        mount.put("2", &certificate, &key);
        tls.poll();
        assert!(Arc::ptr_eq(&first, &tls.config()), "it was read once");
        tls.poll();
        assert!(!Arc::ptr_eq(&first, &tls.config()));
        assert_eq!(tls.fault(), None);
    }

    #[test]
    fn an_unusable_certificate_leaves_the_one_before_it_in_use_and_is_named() {
        let mount = Mount::new();
        let (certificate, key) = pair();
        mount.put("1", &certificate, &key);
        let tls = mount.open().unwrap();
        let first = tls.config();
        let twice = || {
            tls.poll();
            tls.poll();
        };
        for (version, certificate, key, expected) in [
            ("2", "", &*key, "admin.tls.certificate_file: "),
            ("3", &*certificate, "canary", "admin.tls.key_file: "),
            ("4", &*certificate, &*pair().1, "admin.tls: "),
        ] {
            mount.put(version, certificate, key);
            twice();
            let fault = tls.fault().unwrap_or_default();
            assert!(fault.starts_with(expected), "{version}: {fault}");
            assert!(!fault.contains("canary"), "{fault}");
            assert!(Arc::ptr_eq(&first, &tls.config()), "{version}");
        }
        fs::remove_file(mount.root.path().join("..data")).unwrap();
        twice();
        let fault = tls.fault().unwrap_or_default();
        assert!(fault.contains("cannot read"), "{fault}");
        assert!(fault.contains("correct the path"), "{fault}");

        symlink("gone", mount.root.path().join("..data")).unwrap();
        twice();
        let fault = tls.fault().unwrap_or_default();
        assert!(fault.contains("is a link to gone"), "{fault}");
        fs::remove_file(mount.root.path().join("..data")).unwrap();

        mount.put("5", &certificate, &key);
        twice();
        assert_eq!(tls.fault(), None);
    }

    #[test]
    fn a_start_needs_a_certificate_with_its_key() {
        let mount = Mount::new();
        let refused = |mount: &Mount| mount.open().err().unwrap_or_default();
        assert!(refused(&mount).contains("certificate_file: cannot read"));
        let (certificate, key) = pair();
        mount.put("1", &key, &certificate);
        assert!(refused(&mount).contains("certificate_file: "));
        mount.put("2", &certificate, &pair().1);
        assert!(refused(&mount).contains("certificate_file must begin"));
        mount.put("3", &certificate, &"x".repeat(SIZE_LIMIT + 1));
        assert!(refused(&mount).contains("key_file: cannot read"));
    }
}
