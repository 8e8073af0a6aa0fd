//! Composes the process: settings in, listeners out.
//!
//! Nothing here decides anything about requests or credentials; it opens, binds
//! and hands over, so that every error that can be known at start is known before
//! the first request.

use crate::backing::Backing;
use crate::declared_health::DeclaredHealth;
use crate::failure::{Failure, failed};
use crate::inventory::Inventory;
use crate::lifecycle::{Lifecycle, Signals};
use crate::observe::{self, ObserveState};
use crate::startup::{self, EarlyHandles};
use crate::store_health::StoreHealth;
use crate::validated_settings::{Process, StoreSetup, ValidatedSettings};
use crate::{allocator, declared, descriptors, telemetry, warnings, web};
use keyside_admin::AdminOptions;
use keyside_config::{AllowedReferences, ListenAddress, Roots, Settings, Sources};
use keyside_credentials::source::SecretSource;
use keyside_credentials::{KmsSource, ReferenceOptions, SystemClock};
use keyside_proxy::{Bound, Dependencies, Drain, Egress, Metrics};
use keyside_vault::Vault;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// `keyside serve`: runs until a signal.
pub(crate) fn serve(sources: &Sources) -> Result<(), Failure> {
    run(sources, Process::Serve)
}

/// `keyside proxy`: the same without a store and without the admin app.
pub(crate) fn proxy(sources: &Sources) -> Result<(), Failure> {
    run(sources, Process::Proxy)
}

fn run(sources: &Sources, process: Process) -> Result<(), Failure> {
    let validated = ValidatedSettings::new(Settings::load(sources)?.settings, process)?;
    if let Some(app) = App::open(validated)? {
        app.bind()?.run(|_| {});
    }
    Ok(())
}

/// The domain, open, before any listener.
pub(crate) struct App {
    pub(crate) settings: Arc<Settings>,
    pub(crate) backing: Backing,
    egress: Arc<Egress>,
    /// Where the registry's own tasks run; outlives pingora's runtimes.
    pub(crate) runtime: Runtime,
    /// What a start that may have to wait has opened before the others.
    early: Option<EarlyHandles>,
    _telemetry: telemetry::Telemetry,
}

/// All listeners bound.
pub(crate) struct Ready {
    app: App,
    server: Server,
    drain: Drain,
    addresses: Addresses,
    signals: Option<Signals>,
}

/// Where the process listens, with the ports that were really given.
#[derive(Clone)]
pub(crate) struct Addresses {
    pub(crate) proxy: Vec<ListenAddress>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) observe: SocketAddr,
}

impl App {
    /// Opens what requests are answered from. With a key service over the network it waits for that; nothing where a signal
    /// ends the wait.
    pub(crate) fn open(validated: ValidatedSettings) -> Result<Option<Self>, Failure> {
        let ValidatedSettings {
            mut settings,
            store,
            vault,
            cache,
            filter,
            egress,
        } = validated;
        let telemetry = telemetry::start(settings.log.format, filter).map_err(failed)?;
        for warning in warnings::of(&settings) {
            tracing::warn!("{warning}");
        }
        announce(&egress, &settings);
        let open_files = descriptors::raise_limit().map_err(failed)?;
        descriptors::lower_limits(&mut settings.proxy.limits, open_files);
        // The one crypto provider in the tree; an error only says that it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("keyside")
            .enable_all()
            .build()
            .map_err(failed)?;
        let references = references(&settings, vault.clone());
        let declared = declared::of(&settings, vault, cache)?;
        let mut early = match &store {
            Some(StoreSetup {
                kms: KmsSource::Service(_),
                ..
            }) => Some(EarlyHandles::open(&settings, &runtime)?),
            _ => None,
        };
        let backing = match store {
            Some(setup) => {
                let opened = startup::registry(&settings, &setup, early.as_mut());
                let Some(registry) = runtime.block_on(opened)? else {
                    // A name that is still being looked up must not hold it up.
                    runtime.shutdown_background();
                    return Ok(None);
                };
                Backing::stored(registry, declared)
            }
            None => Backing::declared_only(declared),
        };
        // Those whose sources do not answer are waited for in the background.
        let _ = runtime.block_on(async { timeout(FIRST_LOOK, backing.follow(references)).await });
        Ok(Some(Self {
            settings: Arc::new(settings),
            backing,
            egress: Arc::new(egress),
            runtime,
            early,
            _telemetry: telemetry,
        }))
    }

    /// Binds every listener.
    pub(crate) fn bind(mut self) -> Result<Ready, Failure> {
        let admin = match self.backing.registry() {
            Some(_) => {
                let bound = web::bind("admin.listen", self.settings.admin.listen);
                Some(bound.map_err(failed)?)
            }
            None => None,
        };
        let admin_address = admin.as_ref().map(|(_, address)| *address);
        let (observed, signals) = match self.early.take() {
            Some(EarlyHandles { observe, signals }) => (observe, Some(signals)),
            None => (startup::bind_observe(&self.settings)?, None),
        };
        let (observe, observe_address) = observed;
        let settings = match admin_address {
            Some(address) => self.settings_with_links(address),
            None => self.settings.clone(),
        };
        let drain = Drain::default();
        let metrics = prometheus::Registry::new();
        let proxy = keyside_proxy::bind(&Dependencies {
            settings: settings.clone(),
            egress: self.egress.clone(),
            resolver: self.backing.resolver(),
            runs: self.backing.runs().clone(),
            links: self.links(&settings),
            clock: Arc::new(SystemClock),
            metrics: Arc::new(Metrics::register(&metrics).map_err(failed)?),
            drain: drain.clone(),
            collect: allocator::collect,
        })
        .map_err(failed)?;
        self.register_own(&metrics).map_err(failed)?;
        let live_check = proxy.live_check.clone();
        let observed = ObserveState {
            metrics,
            drain: drain.clone(),
            backing: self.backing.clone(),
        };
        let addresses = Addresses {
            proxy: proxy.addresses.clone(),
            admin: admin_address,
            observe: observe_address,
        };
        let mut server = server(proxy, settings.proxy.workers());
        if let (Some((listener, address)), Some(registry)) = (admin, self.backing.registry()) {
            let options = AdminOptions {
                registry: registry.clone(),
                catalogue: Arc::new(settings.catalogue.clone()),
                live_check,
                listen: address,
                public_url: settings.admin.public_url.clone(),
                requests_per_second: settings.admin.requests_per_second,
            };
            let router = keyside_admin::router(options);
            server.add_service(web::service("admin", router, listener));
        }
        server.add_service(web::service("observe", observe::router(observed), observe));
        Ok(Ready {
            app: Self { settings, ..self },
            server,
            drain,
            addresses,
            signals,
        })
    }

    /// What links to the admin app begin with. A sidecar has none of its own; the settings may name one.
    fn links(&self, settings: &Settings) -> Option<Arc<str>> {
        let admin = &settings.admin;
        let is_named = admin.public_url != format!("http://{}", admin.listen);
        (self.backing.registry().is_some() || is_named).then(|| admin.public_url.as_str().into())
    }

    /// Links follow the port that was really given, where the setting asked for any.
    fn settings_with_links(&self, admin: SocketAddr) -> Arc<Settings> {
        if self.settings.admin.listen == admin {
            return self.settings.clone();
        }
        let mut settings = (*self.settings).clone();
        let asked = format!("http://{}", settings.admin.listen);
        if settings.admin.public_url == asked {
            settings.admin.public_url = format!("http://{admin}");
        }
        Arc::new(settings)
    }

    fn register_own(&self, metrics: &prometheus::Registry) -> prometheus::Result<()> {
        if let Some(registry) = self.backing.registry() {
            let inventory = Inventory::new(registry.clone(), &self.settings.catalogue)?;
            metrics.register(Box::new(inventory))?;
            metrics.register(Box::new(StoreHealth::new(registry.clone())?))?;
        }
        let declared = self.backing.declared().clone();
        metrics.register(Box::new(DeclaredHealth::new(declared)?))?;
        startup::register_process(metrics)
    }
}

impl Ready {
    /// Serves until a signal, calls `started` once all listeners accept, and
    /// returns when everything in flight has ended or was cut.
    pub(crate) fn run(self, started: impl FnOnce(&Addresses) + Send + 'static) {
        let Self {
            app,
            server,
            drain,
            addresses,
            signals,
        } = self;
        let ready = move || {
            let proxy: Vec<_> = addresses.proxy.iter().map(ToString::to_string).collect();
            tracing::info!(
                proxy = proxy.join(","),
                admin = addresses.admin.map(tracing::field::display),
                observe = %addresses.observe,
                "ready"
            );
            started(&addresses);
        };
        let lifecycle = Lifecycle {
            drain,
            deadline: app.settings.proxy.deadlines.drain,
            signals: Mutex::new(signals),
            ready: Mutex::new(Some(Box::new(ready))),
        };
        server.run(RunArgs {
            shutdown_signal: Box::new(lifecycle),
        });
        let App {
            backing,
            runtime,
            _telemetry,
            ..
        } = app;
        runtime.block_on(backing.flush());
        tracing::info!("stopped");
        drop(backing);
        // A network file system that does not answer must not keep the process from ending.
        runtime.shutdown_timeout(LAST_READS);
    }
}

/// One line: by which way providers are reached, and which authorities count through a proxy.
fn announce(egress: &Egress, settings: &Settings) {
    let mut ways = egress.effective(&settings.catalogue).into_iter();
    let Some(usual) = ways.next() else {
        return;
    };
    let others = ways.filter_map(|way| Some(format!("{}: {}", way.provider?, way.via)));
    let others: Vec<_> = others.collect();
    let roots = match settings.egress.roots {
        Roots::Public => "public",
        Roots::System => "system",
    };
    let ca_file = settings.egress.ca_file.as_deref().map(Path::display);
    tracing::info!(
        via = usual.via,
        because = usual.because,
        others = others.join(", "),
        roots,
        ca_file = ca_file.map(tracing::field::display),
        "egress"
    );
}

/// How the secrets of stored credentials that stay in Vault are followed.
fn references(settings: &Settings, vault: Option<Arc<Vault>>) -> ReferenceOptions {
    let vault = vault.map(|vault| vault as Arc<dyn SecretSource>);
    match &settings.vault {
        Some(of) => ReferenceOptions {
            vault,
            poll: of.poll,
            outage: of.outage,
            allowed: of.references.clone(),
        },
        // Where an earlier start had a [vault], there may be some; each says what is missing.
        None => ReferenceOptions {
            vault: None,
            poll: UNREADABLE_POLL,
            outage: Duration::ZERO,
            allowed: AllowedReferences::default(),
        },
    }
}

/// pingora's server with nothing left to its defaults that touches the machine:
/// no daemon, no upgrade socket in a shared folder, no grace period of its own.
fn server(proxy: Bound, workers: usize) -> Server {
    let conf = ServerConf {
        threads: 1,
        // A worker that is alone has nobody to share its tasks with, and does without what sharing costs.
        work_stealing: workers > 1,
        daemon: false,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(2),
        upgrade_sock: String::new(),
        pid_file: String::new(),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    for service in proxy.services {
        server.add_boxed_service(service);
    }
    server
}

/// How often it is looked whether a secret in Vault can be read, where no settings say how.
const UNREADABLE_POLL: Duration = Duration::from_secs(3600);
/// How long a start waits for secrets that are kept elsewhere. Most are there in a fraction of it.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// How long the end waits for files that are being read or written.
const LAST_READS: Duration = Duration::from_secs(5);
