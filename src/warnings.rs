//! What in the settings can be run and still deserves a second look: said by `serve` at start and by `check`, in the same
//! words.

use keyside_config::{ListenAddress, Listener, Settings};

/// One sentence or two for each, with the way out.
pub(crate) fn of(settings: &Settings) -> Vec<String> {
    let listeners = settings.proxy.listeners.iter();
    listeners.filter_map(open_to_the_network).collect()
}

/// The data plane asks for no token, so the network decides who may spend.
fn open_to_the_network(listener: &Listener) -> Option<String> {
    let ListenAddress::Tcp(address) = listener.address else {
        return None;
    };
    let reachable = !address.ip().to_canonical().is_loopback();
    (reachable && listener.workspaces.is_empty()).then(|| {
        format!(
            "proxy.listen: {address} can be reached from other machines, and anyone who reaches it can use the keys \
             of every workspace. Pin it to workspaces (`workspaces`), or listen on 127.0.0.1"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyside_config::EnvironmentPin;

    fn warns(address: &str, workspaces: &[&str]) -> bool {
        let listener = Listener {
            address: address.parse().unwrap(),
            workspaces: workspaces.iter().map(|id| (*id).to_owned()).collect(),
            environment: EnvironmentPin::Any,
            peer_uids: Vec::new(),
        };
        open_to_the_network(&listener).is_some_and(|said| said.contains(address))
    }

    #[test]
    fn an_unpinned_listener_that_the_network_reaches_is_warned_of() {
        for address in [
            "0.0.0.0:7380",
            "[::]:7380",
            "10.1.2.3:7380",
            "[fd12::1]:7380",
        ] {
            assert!(warns(address, &[]), "{address}");
            assert!(!warns(address, &["acme"]), "{address}");
        }
        for address in [
            "127.0.0.1:7380",
            "127.0.0.2:7380",
            "[::1]:7380",
            "[::ffff:127.0.0.1]:7380",
            "unix:/run/keyside/proxy.sock",
        ] {
            assert!(!warns(address, &[]), "{address}");
        }
    }
}
