//! Finds the proxy's address for clients of one workspace in the settings.

use std::net::SocketAddr;

use crate::{
    address::{ListenAddress, reachable},
    settings::Listener,
};

/// A TCP listener of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyAddress {
    /// The address to connect to from this machine.
    pub address: SocketAddr,
    /// The workspaces that the listener is pinned to, if the requested one is not among them: it
    /// refuses that one's requests.
    pub pinned_to: Option<Vec<String>>,
}

impl ProxyAddress {
    /// Returns the first TCP listener that the workspace may use, else the first one. `None` if all
    /// are Unix sockets, for which SDKs have no URL.
    pub fn of(listeners: &[Listener], workspace: &str) -> Option<Self> {
        let tcp = |listener: &Listener| match listener.address {
            ListenAddress::Tcp(address) => Some(Self {
                address: reachable(address),
                pinned_to: (!serves(listener, workspace)).then(|| listener.workspaces.clone()),
            }),
            ListenAddress::Unix(_) => None,
        };
        let addresses = listeners.iter().filter_map(tcp);
        // The first one of those that compare equal.
        addresses.min_by_key(|address| address.pinned_to.is_some())
    }
}

fn serves(listener: &Listener, workspace: &str) -> bool {
    let pins = &listener.workspaces;
    pins.is_empty() || pins.iter().any(|pin| pin == workspace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::EnvironmentPin;

    /// An address, and the workspaces that it is pinned to.
    type Written = (&'static str, &'static [&'static str]);

    const SOCKET: Written = ("unix:/run/keyside/proxy.sock", &[]);
    const OPEN: Written = ("0.0.0.0:7380", &[]);
    const ACME: Written = ("127.0.0.1:7390", &["beta", "acme"]);
    const BETA: Written = ("127.0.0.1:7391", &["beta"]);

    /// The chosen address for workspace `acme`, and the pins that exclude it.
    fn chosen(listeners: &[Written]) -> Option<(String, Option<Vec<String>>)> {
        let listener = |(address, workspaces): &Written| Listener {
            address: address.parse().unwrap(),
            workspaces: workspaces.iter().map(|id| (*id).to_owned()).collect(),
            environment: EnvironmentPin::Any,
            peer_uids: Vec::new(),
        };
        let listeners: Vec<_> = listeners.iter().map(listener).collect();
        let found = ProxyAddress::of(&listeners, "acme")?;
        Some((found.address.to_string(), found.pinned_to))
    }

    #[test]
    fn the_first_tcp_listener_that_serves_the_workspace_is_chosen() {
        let at = |address: &str| Some((address.to_owned(), None));
        assert_eq!(chosen(&[OPEN, ACME]), at("127.0.0.1:7380"));
        assert_eq!(chosen(&[SOCKET, BETA, ACME]), at("127.0.0.1:7390"));
        assert_eq!(chosen(&[SOCKET]), None);
    }

    #[test]
    fn a_listener_that_refuses_the_workspace_says_what_it_is_pinned_to() {
        let expected = ("127.0.0.1:7391".to_owned(), Some(vec!["beta".to_owned()]));
        assert_eq!(chosen(&[BETA]), Some(expected));
    }
}
