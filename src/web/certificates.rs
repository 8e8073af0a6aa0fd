//! The certificates of the process's listeners.

use std::sync::Arc;

use keyside_config::Settings;

use super::tls::{ServerTls, TlsError};

/// The certificate of each listener; a listener without one serves plain http.
#[derive(Clone)]
pub(crate) struct Certificates {
    /// Of `admin.tls`; `None` too in a process without an admin listener.
    pub(crate) admin: Option<Arc<ServerTls>>,
    /// Of `observe.tls`.
    pub(crate) observe: Option<Arc<ServerTls>>,
}

impl Certificates {
    /// Reads the files that the settings name; those of the admin listener only if there is one.
    ///
    /// # Errors
    /// A file cannot be read, or does not contain what it should.
    pub(crate) fn open(settings: &Settings, has_admin: bool) -> Result<Self, TlsError> {
        let admin = settings.admin.tls.as_ref().filter(|_| has_admin);
        let observe = settings.observe.tls.as_ref();
        Ok(Self {
            admin: admin
                .map(|files| ServerTls::open("admin.tls", files))
                .transpose()?,
            observe: observe
                .map(|files| ServerTls::open("observe.tls", files))
                .transpose()?,
        })
    }

    /// One text per listener whose files contain a certificate that cannot be used.
    pub(crate) fn faults(&self) -> Vec<String> {
        let each = [&self.admin, &self.observe].into_iter().flatten();
        each.filter_map(|tls| tls.fault()).collect()
    }
}
