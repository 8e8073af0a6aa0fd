//! Opens the store, and where a key service over the network does not answer, waits for that.

use std::{
    error::Error,
    io::{self, ErrorKind},
    iter,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use keyside_config::Settings;
use keyside_credentials::{
    KeyringError, Kms, KmsError, OpenError, OpenOptions, Registry, StorageError, SystemClock,
    backup,
};
use keyside_sled::EmbeddedStore;

use tokio::runtime::Runtime;

use crate::{
    failure::{Failure, failed, misconfigured},
    lifecycle::Signals,
    runnable::StoreSetup,
    waiting::Waiting,
    web,
};

/// Who asks whether it is ready is answered while it waits, and a signal ends it then.
pub(crate) struct Early {
    pub(crate) observe: (TcpListener, SocketAddr),
    pub(crate) signals: Signals,
}

impl Early {
    /// `runtime` is the one that signals are received on.
    pub(crate) fn open(settings: &Settings, runtime: &Runtime) -> Result<Self, Failure> {
        let _entered = runtime.enter();
        Ok(Self {
            observe: bind_observe(settings)?,
            signals: Signals::new().map_err(failed)?,
        })
    }
}

/// Opens the registry. With `early` it waits for the key service as long as that may help; nothing where a signal ends that.
pub(crate) async fn registry(
    settings: &Settings,
    setup: &StoreSetup,
    early: Option<&mut Early>,
) -> Result<Option<Arc<Registry>>, Failure> {
    let Some(Early { observe, signals }) = early else {
        return attempts(settings, setup, None).await.map(Some);
    };
    let metrics = prometheus::Registry::new();
    register_process(&metrics).map_err(failed)?;
    let (socket, address) = observe;
    let waiting = Waiting::start(socket, *address, metrics).map_err(failed)?;
    tokio::select! {
        opened = attempts(settings, setup, Some(&waiting)) => {
            waiting.over();
            opened.map(Some)
        }
        signal = signals.next() => {
            tracing::info!(signal, "stopped before it was ready");
            Ok(None)
        }
    }
}

async fn attempts(
    settings: &Settings,
    StoreSetup { folder, kms }: &StoreSetup,
    waiting: Option<&Waiting>,
) -> Result<Arc<Registry>, Failure> {
    let (store, keyring) = (folder.join("store"), folder.join("keyring"));
    // A new one in the place of a lost one would be in the way of a restore.
    if !EmbeddedStore::exists_in(&store).map_err(failed)? {
        backup::expect_none_interrupted(&store, &keyring).map_err(misconfigured)?;
        Registry::expect_no_store_lost(&keyring).map_err(unopened)?;
    }
    let store = EmbeddedStore::open(&store).await;
    let store = store.map_err(failed)?;
    let registry = loop {
        let options = OpenOptions {
            backend: store.backend(),
            kms: Kms::open(kms, &keyring).map_err(without_master_key)?,
            keyring: keyring.clone(),
            catalogue: Arc::new(settings.catalogue.clone()),
            rules: settings.credentials.clone(),
            clock: Arc::new(SystemClock),
        };
        match (Registry::open(options).await, waiting) {
            (Ok(registry), _) => break registry,
            // The keyring is opened first of all: nothing was begun yet.
            (Err(error), Some(waiting)) if passes_by_itself(&error) => {
                waiting.for_next(error.to_string()).await;
            }
            (Err(error), _) => return Err(unopened(error)),
        }
    };
    registry.runs().set_retention(settings.runs.keep);
    registry.runs().set_when_full(settings.runs.when_full);
    // A disk that is full already is found before the first request.
    registry.runs().flush().await;
    Ok(registry)
}

/// Whether it is a key service that is away, and no setting, policy or sign-in is the cause.
fn passes_by_itself(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::Keyring(KeyringError::Kms(KmsError::Unavailable {
            transient: true,
            ..
        }))
    )
}

/// A disk that is full or fails, or a key service that is away, is not for the settings to mend, and may be mended by the
/// next start.
fn unopened(error: OpenError) -> Failure {
    let may_pass = match &error {
        OpenError::Storage(error) => matches!(
            error,
            StorageError::Full { .. } | StorageError::Failed { .. }
        ),
        OpenError::Keyring(KeyringError::Kms(KmsError::Unavailable { .. })) => true,
        OpenError::TokenFile(file) => file.kind() == ErrorKind::StorageFull,
        error => has_no_room(error),
    };
    match may_pass {
        true => failed(error),
        false => misconfigured(error),
    }
}

fn without_master_key(error: KmsError) -> Failure {
    match has_no_room(&error) {
        true => failed(error),
        false => misconfigured(error),
    }
}

/// Whether what is at the bottom of it is a disk without room.
fn has_no_room(error: &(dyn Error + 'static)) -> bool {
    let mut causes = iter::successors(Some(error), |&error| error.source());
    causes.any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|cause| cause.kind() == ErrorKind::StorageFull)
    })
}

pub(crate) fn bind_observe(settings: &Settings) -> Result<(TcpListener, SocketAddr), Failure> {
    web::bind("observe.listen", settings.observe.listen).map_err(failed)
}

/// What is measured of every process.
pub(crate) fn register_process(metrics: &prometheus::Registry) -> prometheus::Result<()> {
    let build = prometheus::Opts::new("keyside_build_info", "The running version; always 1.");
    let build =
        prometheus::IntGauge::with_opts(build.const_label("version", env!("CARGO_PKG_VERSION")))?;
    build.set(1);
    metrics.register(Box::new(build))?;
    let process = prometheus::process_collector::ProcessCollector::for_self();
    metrics.register(Box::new(process))
}
