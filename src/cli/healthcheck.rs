//! `keyside healthcheck`: asks a running Keyside how it is. It exists so that an image needs no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;
use keyside_config::{Settings, Sources};
use serde_json::json;

use super::{Answer, Failure};
use crate::client;

/// `keyside healthcheck`.
#[derive(Args)]
pub(crate) struct Healthcheck {
    /// The observe listener's address [default: observe.listen of the settings]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Ask whether the process lives, rather than whether it is ready for requests
    #[arg(long)]
    live: bool,
}

pub(crate) async fn run(
    ask: Healthcheck,
    sources: &Sources,
    answer: &Answer,
) -> Result<(), Failure> {
    let base = match ask.url {
        Some(url) => url,
        None => format!(
            "http://{}",
            reachable(Settings::load(sources)?.settings.observe.listen)
        ),
    };
    let (path, wanted) = if ask.live {
        ("/healthz", "alive")
    } else {
        ("/readyz", "ready")
    };
    let answered = client::probe(&base, path).await;
    let (status, _) = answered.map_err(|error| {
        Failure::failed(error.to_string())
            .next("Start it with `keyside serve`, or say where its observe listener is with --url.")
    })?;
    if !status.is_success() {
        return Err(Failure::failed(format!(
            "expected Keyside to be {wanted}, found status {status} from {path}"
        ))
        .next("Its log says what it is waiting for, or why it is draining."));
    }
    answer.give(&json!({ "status": wanted }), |_| format!("{wanted}\n"))
}

/// An address to connect to, for one to listen on: nobody listens on all addresses to be asked on that one.
pub(crate) fn reachable(listen: SocketAddr) -> SocketAddr {
    let loopback = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        named => named,
    };
    SocketAddr::new(loopback, listen.port())
}
