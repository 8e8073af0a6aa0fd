//! Opens the store, and waits while a key service that is reached over the network does not answer.

use std::{
    error::Error,
    fmt::Display,
    io::{self, ErrorKind},
    iter,
    net::SocketAddr,
    sync::Arc,
};

use keyside_config::Settings;
use keyside_credentials::{
    KeyringError, Kms, KmsError, OpenError, OpenOptions, Registry, StorageError, SystemClock,
    backup,
};
use keyside_sled::{EmbeddedStore, StoreOpenError};
use tokio::runtime::Runtime;

use crate::{
    failure::Failure,
    kms_wait::KmsWait,
    lifecycle::Signals,
    metrics,
    validated_settings::StoreSetup,
    web::{self, ServerTls, Socket},
};

/// What is opened before the store if the start may have to wait: the observe listener, which
/// reports the wait, and signal handlers, which end it.
pub(crate) struct EarlyHandles {
    pub(crate) observe: (Socket, SocketAddr),
    pub(crate) signals: Signals,
}

impl EarlyHandles {
    /// `runtime` receives the signals.
    pub(crate) fn open(
        settings: &Settings,
        tls: Option<Arc<ServerTls>>,
        runtime: &Runtime,
    ) -> Result<Self, Failure> {
        Ok(Self {
            observe: bind_observe(settings, tls)?,
            signals: Signals::on(runtime).map_err(Failure::failed)?,
        })
    }
}

/// Opens the registry. With `early`, waits for the key service as long as that may help, and
/// returns `None` if a signal ended the wait.
pub(crate) async fn registry(
    settings: &Settings,
    setup: &StoreSetup,
    early: Option<&mut EarlyHandles>,
) -> Result<Option<Arc<Registry>>, Failure> {
    let Some(EarlyHandles { observe, signals }) = early else {
        return open_registry(settings, setup, None).await.map(Some);
    };
    let measured = prometheus::Registry::new();
    metrics::register_process(&measured).map_err(Failure::failed)?;
    let (socket, address) = observe;
    let waiting = KmsWait::start(socket, *address, measured).map_err(Failure::failed)?;
    tokio::select! {
        opened = open_registry(settings, setup, Some(&waiting)) => {
            waiting.finish();
            opened.map(Some)
        }
        signal = signals.next() => {
            tracing::info!(signal, "stopped before it was ready");
            Ok(None)
        }
    }
}

async fn open_registry(
    settings: &Settings,
    StoreSetup { folder, kms }: &StoreSetup,
    waiting: Option<&KmsWait>,
) -> Result<Arc<Registry>, Failure> {
    let (store, keyring) = (folder.join("store"), folder.join("keyring"));
    // A new store in place of a lost one would make a restore refuse.
    if !EmbeddedStore::exists_in(&store).map_err(Failure::failed)? {
        backup::expect_none_interrupted(&store, &keyring).map_err(Failure::configuration)?;
        Registry::expect_no_store_lost(&keyring).map_err(open_failure)?;
    }
    let store = EmbeddedStore::open(&store).await;
    let store = store.map_err(|error| {
        // Each attempt to open a damaged store may change more of it.
        let may_pass = !matches!(error, StoreOpenError::Damaged { .. });
        failure(error, may_pass)
    })?;
    let registry = loop {
        let options = OpenOptions {
            backend: store.backend(),
            kms: Kms::open(kms, &keyring).map_err(kms_failure)?,
            keyring: keyring.clone(),
            catalogue: Arc::new(settings.catalogue.clone()),
            rules: settings.credentials.clone(),
            clock: Arc::new(SystemClock),
        };
        match (Registry::open(options).await, waiting) {
            (Ok(registry), _) => break registry,
            // The keyring is opened first, so nothing else has happened yet.
            (Err(error), Some(waiting)) if is_outage(&error) => {
                waiting.pause_after_failure(error.to_string()).await;
            }
            (Err(error), _) => return Err(open_failure(error)),
        }
    };
    registry.runs().set_retention(settings.runs.keep);
    registry.runs().set_when_full(settings.runs.when_full);
    // Finds a full disk before the first request.
    registry.runs().flush().await;
    Ok(registry)
}

/// Whether the error is an outage of the key service, which no change of settings, policies or
/// credentials would end.
fn is_outage(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::Keyring(KeyringError::Kms(KmsError::Unavailable {
            transient: true,
            ..
        }))
    )
}

/// Maps an error of the registry to a failure. A full or failing disk, a folder that cannot be written
/// yet, or an outage of the key service may be over at the next start; anything else needs a change of
/// settings.
fn open_failure(error: OpenError) -> Failure {
    let may_pass = match &error {
        OpenError::Storage(error) => matches!(
            error,
            StorageError::Full { .. } | StorageError::Failed { .. }
        ),
        OpenError::Keyring(KeyringError::Kms(KmsError::Unavailable { .. }))
        | OpenError::FirstAnchorNotWritten { .. } => true,
        OpenError::TokenFile(file) => file.kind() == ErrorKind::StorageFull,
        error => is_disk_full(error),
    };
    failure(error, may_pass)
}

fn kms_failure(error: KmsError) -> Failure {
    let may_pass = is_disk_full(&error);
    failure(error, may_pass)
}

fn failure(error: impl Display, may_pass: bool) -> Failure {
    match may_pass {
        true => Failure::failed(error),
        false => Failure::configuration(error),
    }
}

/// Whether the root cause is a full disk.
fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    let mut causes = iter::successors(Some(error), |&error| error.source());
    causes.any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|cause| cause.kind() == ErrorKind::StorageFull)
    })
}

pub(crate) fn bind_observe(
    settings: &Settings,
    tls: Option<Arc<ServerTls>>,
) -> Result<(Socket, SocketAddr), Failure> {
    web::bind("observe.listen", settings.observe.listen, tls).map_err(Failure::failed)
}
