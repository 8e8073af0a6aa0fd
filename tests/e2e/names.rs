//! A provider's name whose address changes between two requests: it is resolved, checked and
//! connected to again each time. Runs in the test's own network, which has a public address.

use crate::harness::{Ask, Builder, KEY, Keyside, Wire, expect, runs_as_root};
use std::fs;
use std::path::PathBuf;

/// Creates the network, mounts the test's own `/etc/hosts`, and continues with the fake provider.
/// Packets to 2001:4860:4860::8888 go to a neighbour that does not exist.
const LAUNCHER: &str = "
    ip link set lo up && ip address add 8.8.4.4/32 dev lo && ip address add 169.254.169.254/32 dev lo &&
    ip address add 10.1.2.3/32 dev lo &&
    ip link add near type veth peer name far && ip link set near up && ip link set far up &&
    ip address add 2001:4860::1/128 dev lo && ip route add 2001:4860:4860::8888/128 dev near &&
    ip neighbour add 2001:4860:4860::8888 lladdr 02:00:00:00:00:01 dev near &&
    mount --bind hosts /etc/hosts && exec python3 provider.py \"$@\"";

/// Listens on all addresses there, and executes the rest of the command. A second process, which
/// exits with it, responds and records the destination of each connection.
const PROVIDER: &str = r#"
import ctypes, os, signal, socket, sys

listener = socket.create_server(("0.0.0.0", 18080))
if os.fork():
    os.execv(sys.argv[1], sys.argv[1:])
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
while True:
    client, _ = listener.accept()
    with open("asked", "a") as asked:
        print(client.getsockname()[0], file=asked)
    request = b""
    while b"\r\n\r\n" not in request:
        request += client.recv(65536)
    with open("requests", "ab") as requests:
        requests.write(request)
    client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
    client.close()
"#;

/// Keyside in such a network, with a key, and the socket that leads into it.
fn in_a_network_of_its_own(allow_private: bool) -> (Keyside, PathBuf) {
    let builder = Keyside::builder()
        .set("providers.openai.allow_private", &allow_private.to_string())
        .provider("openai", "http://provider.example:18080")
        .set("providers.openai.allow_plaintext", "true")
        .variable("PATH", &std::env::var("PATH").expect("a path to programs"));
    let socket = builder.home().join("run/proxy.sock");
    let listen = format!("[{{ address = \"unix:{}\" }}]", socket.display());
    let (builder, _) = builder
        .set("proxy.listen", &listen)
        .start()
        .with_key()
        .stop();
    fs::write(builder.home().join("provider.py"), PROVIDER).expect("a writable folder");
    means(&builder, &["8.8.4.4"]);
    let launcher = ["unshare", "--mount", "--net", "sh", "-c", LAUNCHER, "sh"];
    (builder.launched_by(&launcher).start(), socket)
}

fn means(builder: &Builder, addresses: &[&str]) {
    let line = |address: &&str| format!("{address} provider.example\n");
    let lines: String = addresses.iter().map(line).collect();
    fs::write(builder.home().join("hosts"), lines).expect("a writable folder");
}

fn asked(keyside: &Keyside) -> Vec<String> {
    let asked = fs::read_to_string(keyside.builder_of().home().join("asked"));
    asked
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_name_that_changes_to_the_metadata_service_is_refused() {
    if !runs_as_root() {
        return;
    }
    let (keyside, socket) = in_a_network_of_its_own(false);
    let ask = || Wire::unix(&socket).ask(&Ask::chat());
    assert_eq!(ask().status(), 200);
    assert_eq!(asked(&keyside), ["8.8.4.4"]);

    means(keyside.builder_of(), &["169.254.169.254"]);
    expect::refused("another address", &ask(), 502, "upstream_unreachable");
    assert_eq!(asked(&keyside), ["8.8.4.4"], "connected to the other");

    means(keyside.builder_of(), &["8.8.4.4"]);
    assert_eq!(ask().status(), 200);
    assert_eq!(asked(&keyside), ["8.8.4.4", "8.8.4.4"]);
    let requests = fs::read(keyside.builder_of().home().join("requests")).expect("requests");
    let keys = requests
        .windows(KEY.len())
        .filter(|at| at == &KEY.as_bytes());
    assert_eq!(keys.count(), 2);
}

#[test]
fn an_unresponsive_address_does_not_prevent_trying_the_others() {
    if !runs_as_root() {
        return;
    }
    let (keyside, socket) = in_a_network_of_its_own(false);
    // The resolver returns IPv6 first (RFC 6724), and packets to it are lost.
    means(keyside.builder_of(), &["2001:4860:4860::8888", "8.8.4.4"]);
    let answer = Wire::unix(&socket).ask(&Ask::chat());
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(asked(&keyside), ["8.8.4.4"]);
}

#[test]
fn a_name_may_resolve_to_a_private_network_only_with_allow_private() {
    if !runs_as_root() {
        return;
    }
    for (allow_private, asked_at) in [(false, None), (true, Some("10.1.2.3"))] {
        let (keyside, socket) = in_a_network_of_its_own(allow_private);
        means(keyside.builder_of(), &["10.1.2.3"]);
        let answer = Wire::unix(&socket).ask(&Ask::chat());
        match asked_at {
            Some(_) => assert_eq!(answer.status(), 200, "{}", answer.text()),
            None => expect::refused("a private address", &answer, 502, "upstream_unreachable"),
        }
        assert_eq!(asked(&keyside), Vec::from_iter(asked_at));
    }
}
