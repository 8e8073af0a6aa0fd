//! Serves an axum router as one of pingora's services, on a socket bound before.

use async_trait::async_trait;
use axum::Router;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::{BackgroundService, GenBackgroundService};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// A router and its socket.
pub(crate) struct Web {
    router: Router,
    socket: Mutex<Option<TcpListener>>,
}

/// An address of `admin.listen` or `observe.listen` cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; choose another address in {setting}, or stop what uses it"
)]
pub(crate) struct BindError {
    setting: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// Binds now, so that a taken address is known before anything starts.
pub(crate) fn bind(
    setting: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let bind = || {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let given = socket.local_addr()?;
        io::Result::Ok((socket, given))
    };
    bind().map_err(|source| BindError {
        setting,
        address,
        source,
    })
}

/// The service, with one thread: administration and scraping are rare.
pub(crate) fn service(
    name: &str,
    router: Router,
    socket: TcpListener,
) -> GenBackgroundService<Web> {
    let web = Web {
        router,
        socket: Mutex::new(Some(socket)),
    };
    GenBackgroundService::new(name.to_owned(), Arc::new(web))
}

#[async_trait]
impl BackgroundService for Web {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let socket = self.socket.lock().ok().and_then(|mut socket| socket.take());
        let Some(socket) = socket else { return };
        let serve = async {
            let listener = tokio::net::TcpListener::from_std(socket)?;
            let stop = async move {
                let _ = shutdown.wait_for(|stop| *stop).await;
            };
            axum::serve(listener, self.router.clone())
                .with_graceful_shutdown(stop)
                .await
        };
        if let Err(error) = serve.await {
            tracing::error!(%error, "a listener stopped");
        }
    }
}
