//! Opens TCP connections: resolve, check, and connect to exactly the addresses that were checked.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use keyside_config::is_metadata_host;
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::timeout,
};

use super::address::AddressPolicy;

/// Why there is no TCP connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum TcpError {
    #[error("{host} could not be resolved")]
    Resolve { host: String, source: io::Error },
    #[error(
        "{host} is a cloud's metadata service, which cannot be a provider or a proxy; correct the \
         setting that names it"
    )]
    Metadata { host: String },
    #[error("{host} resolves to {}", policy.rejection())]
    AddressNotAllowed { host: String, policy: AddressPolicy },
    #[error("could not connect to {address}")]
    Connect {
        address: SocketAddr,
        source: io::Error,
    },
}

/// Connects to a host that configuration names.
pub(super) async fn connect(
    host: &str,
    port: u16,
    policy: AddressPolicy,
) -> Result<TcpStream, TcpError> {
    let addresses = resolve(host, port, policy).await?;
    let none = TcpError::AddressNotAllowed {
        host: host.into(),
        policy,
    };
    let stream = race(addresses, none).await?;
    // Otherwise a small request waits for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    // Best effort: without the option a dead path is only noticed later.
    let _ = setsockopt(&stream, TcpUserTimeout, &USER_TIMEOUT_MS);
    Ok(stream)
}

/// Connects to one of these addresses. An attempt that is still pending gets a head start, then the
/// next address is tried in parallel; the first to connect wins (RFC 8305 section 5). `failure` is
/// the error if there are no addresses.
async fn race(addresses: Vec<SocketAddr>, mut failure: TcpError) -> Result<TcpStream, TcpError> {
    let mut addresses = addresses.into_iter();
    // Dropping the set cancels the attempts that are still pending.
    let mut racing = JoinSet::new();
    loop {
        if let Some(address) = addresses.next() {
            racing.spawn(async move {
                let connected = TcpStream::connect(address).await;
                connected.map_err(|source| TcpError::Connect { address, source })
            });
        }
        let delay = match addresses.len() {
            0 => Duration::MAX,
            _ => CONNECTION_ATTEMPT_DELAY,
        };
        match timeout(delay, racing.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => failure = error,
            Ok(None) => return Err(failure),
            // Try the next address.
            Ok(Some(Err(_))) | Err(_) => {}
        }
    }
}

/// The addresses that may be connected to. A host that configuration names by address, or as
/// `localhost`, is intended and not checked further.
async fn resolve(
    host: &str,
    port: u16,
    policy: AddressPolicy,
) -> Result<Vec<SocketAddr>, TcpError> {
    if is_metadata_host(host) {
        return Err(TcpError::Metadata { host: host.into() });
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = lookup_host((host, port)).await;
    let found = found.map_err(|source| TcpError::Resolve {
        host: host.into(),
        source,
    })?;
    let allowed = |address: &SocketAddr| match host {
        "localhost" => address.ip().is_loopback(),
        _ => policy.allows(address.ip()),
    };
    Ok(found.filter(allowed).collect())
}

/// Milliseconds. A broken path gives no error, and requests would go on to it for a quarter of an
/// hour; with this, sent data must be acknowledged in time.
const USER_TIMEOUT_MS: u32 = 30_000;

/// The delay that RFC 8305 (section 8) recommends.
const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_metadata_service_is_not_even_resolved() {
        for host in ["metadata.google.internal", "METADATA", "169.254.169.254"] {
            for policy in [
                AddressPolicy::Public,
                AddressPolicy::Private,
                AddressPolicy::EgressProxy,
            ] {
                let refused = resolve(host, 80, policy).await;
                let is_named =
                    matches!(&refused, Err(TcpError::Metadata { host: named }) if named == host);
                assert!(is_named, "{host}: {refused:?}");
            }
        }
    }
}
