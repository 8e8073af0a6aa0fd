//! Composes the process from the settings.
//!
//! It opens stores and binds listeners, and decides nothing about requests or credentials. Every
//! error that can be found at startup is reported before the first request.

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use keyside_admin::{AdminOptions, SignInLinks};
use keyside_config::{AllowedReferences, ListenAddress, Listener, Roots, Settings, Sources};
use keyside_credentials::{
    KmsSource, ReferenceOptions, Scope, open_regular, smoke::Smoke, source::SecretSource,
};
use keyside_proxy::{Bound, Dependencies, Drain, Egress, Metrics};
use keyside_vault::Vault;
use parking_lot::Mutex;
use pingora::server::{RunArgs, Server, configuration::ServerConf};
use tokio::{
    runtime::Runtime,
    time::{sleep, timeout},
};
use zeroize::Zeroizing;

use crate::{
    allocator,
    backing::Backing,
    declared, descriptors,
    failure::Failure,
    lifecycle::{Lifecycle, Signals},
    metrics,
    observe::{self, ObserveState},
    startup::{self, EarlyHandles},
    telemetry,
    validated_settings::{Process, StoreSetup, ValidatedSettings},
    warnings,
    web::{self, Certificates, Socket},
    webhooks::Webhooks,
};

/// `keyside serve`, or `keyside proxy`, which has no store and no admin API: runs until a signal.
pub(crate) fn run(sources: &Sources, process: Process) -> Result<(), Failure> {
    let validated = ValidatedSettings::new(Settings::load(sources)?.settings, process)?;
    if let Some(app) = App::open(validated, runtime()?)? {
        let is_watched = app.is_new() && io::stderr().is_terminal();
        let ready = app.bind()?;
        let link = is_watched.then(|| ready.sign_in_link()).flatten();
        ready.run(move |_| link.iter().for_each(print_link));
    }
    Ok(())
}

/// The runtime of an [`App`].
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("keyside")
        // A start reads on threads of the blocking pool, and they keep memory until they end.
        .thread_keep_alive(Duration::from_secs(1))
        .enable_all()
        .build();
    runtime.map_err(Failure::failed)
}

/// Standard error may be closed: the process works without the message.
fn print_link(link: &Zeroizing<String>) {
    let minutes = SignInLinks::LIFETIME.as_secs() / 60;
    let mut stderr = io::stderr().lock();
    let _ = writeln!(
        stderr,
        "Open the admin page within {minutes} minutes, or print another link with `keyside link`:\n\n  {}\n",
        **link
    );
}

/// The opened domain, before any listener is bound.
pub(crate) struct App {
    pub(crate) settings: Arc<Settings>,
    pub(crate) backing: Backing,
    egress: Arc<Egress>,
    certificates: Certificates,
    /// Runs the registry's own tasks, and outlives pingora's runtimes.
    pub(crate) runtime: Runtime,
    /// Opened first if the start may have to wait for a key service.
    early: Option<EarlyHandles>,
    _telemetry: telemetry::Telemetry,
}

/// The process with all listeners bound.
pub(crate) struct Ready {
    app: App,
    server: Server,
    drain: Drain,
    addresses: Addresses,
    signals: Option<Signals>,
    sign_in_links: Arc<SignInLinks>,
    webhooks: Option<Webhooks>,
}

/// The addresses of the listeners, with the real ports where settings have 0.
#[derive(Clone)]
pub(crate) struct Addresses {
    pub(crate) proxy: Vec<ListenAddress>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) observe: SocketAddr,
}

impl App {
    /// Opens the credential store and the declared credentials. Waits for a key service that is
    /// reached over the network; returns `None` if a signal ended the wait.
    pub(crate) fn open(
        validated: ValidatedSettings,
        runtime: Runtime,
    ) -> Result<Option<Self>, Failure> {
        let (mut settings, store) = (validated.settings, validated.store);
        let (egress, vault) = (validated.egress, validated.vault);
        let certificates = validated.certificates;
        let telemetry = telemetry::start(settings.log.format, validated.filter);
        let telemetry = telemetry.map_err(Failure::failed)?;
        for warning in warnings::of(&settings) {
            tracing::warn!("{warning}");
        }
        log_egress(&egress, &settings);
        let open_files = descriptors::raise_limit().map_err(Failure::failed)?;
        descriptors::lower_limits(&mut settings.proxy.limits, open_files);
        let references = references(&settings, vault.clone());
        let declared = declared::of(&settings, vault, validated.cache)?;
        let mut early = match &store {
            Some(StoreSetup {
                kms: KmsSource::Service(_),
                ..
            }) => {
                let tls = certificates.observe.clone();
                Some(EarlyHandles::open(&settings, tls, &runtime)?)
            }
            _ => None,
        };
        let backing = match store {
            Some(setup) => {
                let opened = startup::registry(&settings, &setup, early.as_mut());
                let Some(registry) = runtime.block_on(opened)? else {
                    // A pending DNS lookup must not delay the exit.
                    runtime.shutdown_background();
                    return Ok(None);
                };
                Backing::stored(registry, declared)
            }
            None => Backing::declared_only(declared),
        };
        runtime.block_on(backing.restore_spend());
        // Sources that do not answer in this time are waited for in the background.
        let _ = runtime
            .block_on(async { timeout(FIRST_READ_TIMEOUT, backing.follow(references)).await });
        // An idle process would keep what only the start needed.
        runtime.spawn(async {
            sleep(READERS_ENDED).await;
            allocator::collect();
        });
        Ok(Some(Self {
            settings: Arc::new(settings),
            backing,
            egress: Arc::new(egress),
            certificates,
            runtime,
            early,
            _telemetry: telemetry,
        }))
    }

    /// Whether there is a store without a workspace: nobody has set anything up, though an earlier
    /// start may have failed after it created the store.
    fn is_new(&self) -> bool {
        let registry = self.backing.registry();
        registry.is_some_and(|registry| registry.workspaces(&Scope::All).is_empty())
    }

    pub(crate) fn bind(mut self) -> Result<Ready, Failure> {
        let admin = self.bind_admin()?;
        let admin_address = admin.as_ref().map(|(_, address)| *address);
        let ((observe, observe_address), signals) = match self.early.take() {
            Some(EarlyHandles { observe, signals }) => (observe, Some(signals)),
            None => {
                let tls = self.certificates.observe.clone();
                (startup::bind_observe(&self.settings, tls)?, None)
            }
        };
        let settings = match admin_address {
            Some(address) => self.settings_with_links(address),
            None => self.settings.clone(),
        };
        let drain = Drain::default();
        let measured = prometheus::Registry::new();
        let proxy = keyside_proxy::bind(&Dependencies {
            settings: settings.clone(),
            egress: self.egress.clone(),
            resolver: self.backing.resolver(),
            runs: self.backing.runs.clone(),
            links: self.links(&settings),
            metrics: Arc::new(Metrics::register(&measured).map_err(Failure::failed)?),
            drain: drain.clone(),
            collect: allocator::collect,
        })
        .map_err(Failure::failed)?;
        let catalogue = &settings.catalogue;
        metrics::register(&measured, &self.backing, catalogue).map_err(Failure::failed)?;
        let webhooks = self.start_webhooks(&measured).map_err(Failure::failed)?;
        let smoke = self.start_smoke(&settings, &proxy);
        if let Some(smoke) = &smoke {
            metrics::register_smoke(&measured, smoke.clone()).map_err(Failure::failed)?;
        }
        let observed = ObserveState {
            metrics: measured,
            drain: drain.clone(),
            backing: self.backing.clone(),
            certificates: self.certificates.clone(),
        };
        let addresses = Addresses {
            proxy: proxy.addresses.clone(),
            admin: admin_address,
            observe: observe_address,
        };
        let sign_in_links = Arc::<SignInLinks>::default();
        let router = self.admin_router(&settings, &proxy, smoke, admin_address, &sign_in_links);
        let mut server = server(proxy, settings.proxy.workers());
        if let (Some((listener, _)), Some(router)) = (admin, router) {
            server.add_service(web::service("admin", router, listener));
        }
        let mut observed = observe::router(observed);
        if observe_address.ip().is_loopback() && settings.observe.tls.is_none() {
            observed = observe::under_loopback_names(observed);
        }
        server.add_service(web::service("observe", observed, observe));
        Ok(Ready {
            app: Self { settings, ..self },
            server,
            drain,
            addresses,
            signals,
            sign_in_links,
            webhooks,
        })
    }

    /// `keyside proxy` has no admin app.
    fn bind_admin(&self) -> Result<Option<(Socket, SocketAddr)>, Failure> {
        let (listen, tls) = (self.settings.admin.listen, &self.certificates.admin);
        let bind = || web::bind("admin.listen", listen, tls.clone());
        let bound = self.backing.registry().map(|_| bind());
        bound.transpose().map_err(Failure::failed)
    }

    /// The admin app on a listener that is bound to `listen`.
    fn admin_router(
        &self,
        settings: &Settings,
        proxy: &Bound,
        smoke: Option<Arc<Smoke>>,
        listen: Option<SocketAddr>,
        sign_in_links: &Arc<SignInLinks>,
    ) -> Option<Router> {
        Some(keyside_admin::router(AdminOptions {
            registry: self.backing.registry()?.clone(),
            catalogue: Arc::new(settings.catalogue.clone()),
            live_check: proxy.live_check.clone(),
            prompt_check: proxy.prompt_check.clone(),
            preview: proxy.preview.clone(),
            smoke: smoke?,
            proxy_listeners: bound(&settings.proxy.listeners, &proxy.addresses),
            listen: listen?,
            public_url: settings.admin.public_url.clone(),
            trusted_proxies: settings.admin.trusted_proxies.clone(),
            sign_in_links: sign_in_links.clone(),
            requests_per_second: settings.admin.requests_per_second,
        }))
    }

    /// The URL that links to the admin app begin with. `keyside proxy` has no admin app, but the
    /// settings may name another one.
    fn links(&self, settings: &Settings) -> Option<Arc<str>> {
        let admin = &settings.admin;
        (self.backing.registry().is_some() || !admin.has_derived_url())
            .then(|| admin.public_url.as_str().into())
    }

    /// If `admin.listen` has port 0, `admin.public_url` gets the real port.
    fn settings_with_links(&self, admin: SocketAddr) -> Arc<Settings> {
        if self.settings.admin.listen == admin {
            return self.settings.clone();
        }
        let mut settings = (*self.settings).clone();
        if settings.admin.has_derived_url() {
            settings.admin.public_url = settings.admin.url_at(admin);
        }
        Arc::new(settings)
    }

    /// Starts smoke runs, on the runtime that outlives the listeners. `keyside proxy` has none: it
    /// has no store to note what they spend.
    fn start_smoke(&self, settings: &Settings, proxy: &Bound) -> Option<Arc<Smoke>> {
        let live_check = match settings.smoke.prompt {
            true => &proxy.smoke_prompt_check,
            false => &proxy.smoke_check,
        };
        let registry = self.backing.registry()?.clone();
        let smoke = Smoke::new(registry, live_check.clone(), settings.smoke.clone());
        self.runtime.spawn(smoke.background());
        Some(smoke)
    }

    /// `keyside proxy` sends none: its credentials change elsewhere.
    fn start_webhooks(
        &self,
        metrics: &prometheus::Registry,
    ) -> prometheus::Result<Option<Webhooks>> {
        let Some(registry) = self.backing.registry() else {
            return Ok(None);
        };
        let (settings, egress) = (&self.settings, &self.egress);
        Webhooks::start(settings, egress, registry, &self.runtime, metrics)
    }
}

impl Ready {
    /// A one-time link that opens the admin page for the owner token of the data folder. `None` if
    /// there is no admin page, or the file's token does not work any more.
    pub(crate) fn sign_in_link(&self) -> Option<Zeroizing<String>> {
        let access = self.app.backing.registry()?.access();
        let token = open_regular(access.token_file()).and_then(io::read_to_string);
        let token = token.map(Zeroizing::new);
        let owner = access.authenticate(token.ok()?.trim())?;
        let public_url = &self.app.settings.admin.public_url;
        Some(self.sign_in_links.create(public_url, &owner.actor))
    }

    /// The same with signal handlers that were installed before the start, so that no signal since
    /// then is lost.
    pub(crate) fn stopped_by(self, signals: Signals) -> Self {
        Self {
            signals: Some(signals),
            ..self
        }
    }

    /// Serves until a signal. Calls `started` once all listeners accept, and returns when all
    /// requests in flight have ended or were cut off.
    pub(crate) fn run(self, started: impl FnOnce(&Addresses) + Send + 'static) {
        let (app, addresses) = (self.app, self.addresses);
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
            drain: self.drain,
            deadline: app.settings.proxy.deadlines.drain,
            signals: Mutex::new(self.signals),
            ready: Mutex::new(Some(Box::new(ready))),
        };
        let shutdown_signal = Box::new(lifecycle);
        self.server.run(RunArgs { shutdown_signal });
        if let Some(webhooks) = self.webhooks {
            app.runtime.block_on(webhooks.finish());
        }
        app.runtime.block_on(app.backing.flush());
        tracing::info!("stopped");
        drop(app.backing);
        // A network file system that does not respond must not prevent the exit.
        let begun = Instant::now();
        app.runtime.shutdown_timeout(EXIT_TIMEOUT);
        if begun.elapsed() >= EXIT_TIMEOUT {
            tracing::warn!("a read or write of a file does not end; exiting without it");
        }
    }
}

/// Logs how providers are reached, and which certificate authorities are trusted behind a proxy.
fn log_egress(egress: &Egress, settings: &Settings) {
    let mut routes = egress.effective(&settings.catalogue).into_iter();
    let Some(default) = routes.next() else {
        return;
    };
    let others = routes.filter_map(|route| Some(format!("{}: {}", route.provider?, route.via)));
    let others: Vec<_> = others.collect();
    let roots = match settings.egress.roots {
        Roots::Public => "public",
        Roots::System => "system",
    };
    let ca_file = settings.egress.ca_file.as_deref().map(Path::display);
    tracing::info!(
        via = default.via,
        because = default.because,
        others = others.join(", "),
        roots,
        ca_file = ca_file.map(tracing::field::display),
        "egress"
    );
}

/// The options for following stored credentials whose secrets stay in Vault.
fn references(settings: &Settings, vault: Option<Arc<Vault>>) -> ReferenceOptions {
    let vault = vault.map(|vault| vault as Arc<dyn SecretSource>);
    match &settings.vault {
        Some(of) => ReferenceOptions {
            vault,
            poll: of.poll,
            outage: of.outage,
            allowed: of.references.clone(),
        },
        // Credentials from an earlier start with a [vault] table may still exist. Each reports what
        // is missing.
        None => ReferenceOptions {
            vault: None,
            poll: DEFAULT_POLL,
            outage: Duration::ZERO,
            allowed: AllowedReferences::default(),
        },
    }
}

/// The listeners with the addresses that they are bound to.
fn bound(listeners: &[Listener], addresses: &[ListenAddress]) -> Vec<Listener> {
    let listeners = listeners.iter().zip(addresses);
    let bound = listeners.map(|(listener, address)| Listener {
        address: address.clone(),
        ..listener.clone()
    });
    bound.collect()
}

/// Creates pingora's server without the defaults that affect the machine: no daemon, no upgrade
/// socket in a shared folder, no grace period of its own.
fn server(proxy: Bound, workers: usize) -> Server {
    let conf = ServerConf {
        threads: 1,
        // A single worker has nobody to share tasks with, so work stealing would only cost time.
        work_stealing: workers > 1,
        daemon: false,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(2),
        upgrade_sock: String::new(),
        pid_file: String::new(),
        // Otherwise the first connection starts a thread for pingora's own timer, which wakes a
        // hundred times a second for as long as the process runs. We use tokio's anyway.
        fast_timeout_to_tokio_threshold_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    for service in proxy.services {
        server.add_boxed_service(service);
    }
    server
}

/// How often secrets in Vault are read again if no settings say so.
const DEFAULT_POLL: Duration = Duration::from_secs(3600);
/// How long a start waits for secrets that are kept elsewhere. Most arrive in a fraction of it.
const FIRST_READ_TIMEOUT: Duration = Duration::from_secs(2);
/// By then the threads that have read the store have ended: after ten idle seconds.
const READERS_ENDED: Duration = Duration::from_secs(15);
/// How long the exit waits for file reads and writes.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
