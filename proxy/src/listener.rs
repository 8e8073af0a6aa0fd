//! The listening sockets. Keyside binds them, so that a port in use is an error with a remedy and
//! port 0 works; pingora then owns them and accepts.

mod unix;

use std::{
    fs::Permissions,
    io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{IntoRawFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use keyside_config::{CheckKind, ListenAddress, Listener};
use keyside_credentials::{LiveCheck, preview::Preview, runs::RunKind};
use pingora::{
    listeners::{L4BufferSettings, ListenerConfig},
    server::{ListenFds, ShutdownWatch},
    services::{Service, listening},
};
use tokio::sync::Semaphore;

use crate::{
    admission::ListenerPolicy,
    connection::Connections,
    destination::{Destinations, SharedResources},
    gateway::{Dependencies, Gateway},
    preview::InProcessPreview,
    probe::Probe,
    quota::Quota,
};

/// The data plane's listeners, bound and not yet accepting.
pub struct Bound {
    /// The address of each listener, with the port that the system chose for port 0.
    pub addresses: Vec<ListenAddress>,
    /// The services to add to pingora's server.
    pub services: Vec<Box<dyn pingora::services::ServiceWithDependents>>,
    /// Verifies keys with their providers, over the same path as requests. Belongs to a single
    /// runtime.
    pub live_check: Arc<dyn LiveCheck>,
    /// The same with a minimal prompt, which costs a few tokens.
    pub prompt_check: Arc<dyn LiveCheck>,
    /// As [`Self::live_check`], for smoke runs.
    pub smoke_check: Arc<dyn LiveCheck>,
    /// As [`Self::prompt_check`], for smoke runs.
    pub smoke_prompt_check: Arc<dyn LiveCheck>,
    /// Sends prompts of people through all steps of a request. Belongs to a single runtime.
    pub preview: Arc<dyn Preview>,
}

/// Why the data plane cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A TCP address is in use, or does not belong to this machine.
    #[error(
        "cannot listen on {address}: {source}; choose another address in proxy.listen, or stop \
         the process that uses it"
    )]
    Tcp {
        /// The configured address.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
    /// A Unix socket or its folder cannot be created.
    #[error(
        "cannot listen on unix:{}: {source}; check that nothing else exists there and that this \
         user can write to its folder",
        path.display()
    )]
    Unix {
        /// The configured path.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another process accepts connections on the Unix socket.
    #[error(
        "cannot listen on unix:{}: another process accepts connections there; stop it, or \
         choose another path",
        .0.display()
    )]
    Answered(PathBuf),
}

/// Binds all listeners and creates a gateway for each.
///
/// # Errors
/// One of the addresses cannot be bound.
pub fn bind(dependencies: &Dependencies) -> Result<Bound, BindError> {
    let proxy = &dependencies.settings.proxy;
    let connection_limit = Arc::new(Semaphore::new(proxy.limits.connections));
    let catalogue = &dependencies.settings.catalogue;
    let requests = Quota::new(proxy.limits.requests);
    let shared = SharedResources::new(catalogue, proxy, &dependencies.egress, requests.clone());
    let destinations =
        || Destinations::new(catalogue, &proxy.deadlines, &dependencies.metrics, &shared);
    let checked = Arc::new(destinations());
    let probe = |check, kind| {
        let (runs, clock) = (dependencies.runs.clone(), dependencies.resolver.clock());
        Arc::new(Probe::new(checked.clone(), runs, clock, (check, kind)))
    };
    let mut bound = Bound {
        addresses: Vec::new(),
        services: Vec::new(),
        live_check: probe(CheckKind::Request, RunKind::Check),
        prompt_check: probe(CheckKind::Prompt, RunKind::Check),
        smoke_check: probe(CheckKind::Request, RunKind::Smoke),
        smoke_prompt_check: probe(CheckKind::Prompt, RunKind::Smoke),
        preview: Arc::new(InProcessPreview::new(
            Gateway::new(
                dependencies,
                ListenerPolicy::in_process(proxy),
                destinations(),
                requests.clone(),
            ),
            connection_limit.clone(),
            dependencies.drain.clone(),
        )),
    };
    for listener in &proxy.listeners {
        let socket = Socket::bind(listener, &proxy.listeners)?;
        let policy = ListenerPolicy::new(listener, socket.tcp_address(), proxy);
        let gateway = Gateway::new(dependencies, policy, destinations(), requests.clone());
        let limit = connection_limit.clone();
        let connections = Connections::new(gateway, listener, limit, dependencies);
        bound.addresses.push(socket.address.clone());
        bound.services.push(Box::new(Accepting::new(
            socket,
            connections,
            listener,
            proxy.workers(),
        )));
    }
    Ok(bound)
}

/// A bound socket.
struct Socket {
    address: ListenAddress,
    descriptor: OwnedFd,
}

impl Socket {
    fn bind(listener: &Listener, all: &[Listener]) -> Result<Self, BindError> {
        match &listener.address {
            ListenAddress::Tcp(address) => Self::tcp(*address).map_err(|source| BindError::Tcp {
                address: *address,
                source,
            }),
            ListenAddress::Unix(path) => Self::unix(path, listener, all),
        }
    }

    fn tcp(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = ListenAddress::Tcp(listener.local_addr()?);
        Ok(Self {
            address,
            descriptor: listener.into(),
        })
    }

    fn unix(path: &Path, listener: &Listener, all: &[Listener]) -> Result<Self, BindError> {
        if UnixStream::connect(path).is_ok() {
            return Err(BindError::Answered(path.into()));
        }
        let socket = unix::bind(path, unix::mode(listener), all);
        let socket = socket.map_err(|source| BindError::Unix {
            path: path.into(),
            source,
        })?;
        Ok(Self {
            address: ListenAddress::Unix(path.into()),
            descriptor: socket.into(),
        })
    }

    fn tcp_address(&self) -> Option<SocketAddr> {
        match self.address {
            ListenAddress::Tcp(address) => Some(address),
            ListenAddress::Unix(_) => None,
        }
    }
}

/// pingora's listening service with a socket that is already bound.
struct Accepting {
    service: listening::Service<Connections>,
    name: String,
    socket: Option<OwnedFd>,
}

impl Accepting {
    fn new(socket: Socket, connections: Connections, listener: &Listener, workers: usize) -> Self {
        let (name, config) = match &socket.address {
            ListenAddress::Tcp(address) => {
                let name = address.to_string();
                (name.clone(), ListenerConfig::tcp(name))
            }
            ListenAddress::Unix(path) => {
                let name = path.display().to_string();
                let mode = Permissions::from_mode(unix::mode(listener));
                (name.clone(), ListenerConfig::uds(name).permissions(mode))
            }
        };
        let mut service =
            listening::Service::new(format!("proxy {}", listener.address), connections);
        service.add_listener(config.l4_buffer(L4BufferSettings::unbuffered()));
        service.threads = Some(workers);
        Self {
            service,
            name,
            socket: Some(socket.descriptor),
        }
    }
}

#[async_trait]
impl Service for Accepting {
    /// Registers our socket as inherited: pingora looks there first and binds its own socket only
    /// if it finds none.
    async fn start_service(
        &mut self,
        inherited: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_socket: usize,
    ) {
        if let (Some(inherited), Some(socket)) = (&inherited, self.socket.take()) {
            inherited
                .lock()
                .add(self.name.clone(), socket.into_raw_fd());
        }
        self.service
            .start_service(inherited, shutdown, listeners_per_socket)
            .await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads
    }
}
