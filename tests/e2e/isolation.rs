//! Clients that stop reading do not delay others at the same provider, and no connection carries
//! two credentials.

use crate::harness::h2_upstream::{H2Answer, H2Request, over_h2_answering};
use crate::harness::h2c::H2c;
use crate::harness::{Ask, KEY, Keyside, OTHER_KEY, Upstream, Wire, reply, settled};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;

/// More than all buffers between provider and client.
const ENDLESS: usize = 256 * 1024 * 1024;
/// More than a stream's window on the way.
const LARGE: usize = 2 * 1024 * 1024;
const STALLED: usize = 4;

fn large(size: usize) -> Ask {
    Ask::chat().header("X-Zeroes", size.to_string())
}

/// As many zeroes as the request asks for, or a small answer.
fn asked_for(seen: &H2Request) -> H2Answer {
    let zeroes = seen.head.headers().get("x-zeroes");
    let zeroes = zeroes.map(|size| {
        size.to_str()
            .expect("text")
            .parse::<usize>()
            .expect("a number")
    });
    H2Answer {
        pieces: vec![b"{}".to_vec()],
        zeroes: zeroes.unwrap_or_default(),
        ..H2Answer::default()
    }
}

/// A client that has read the head of a large answer and reads no further.
fn stalled(keyside: &Keyside) -> Wire {
    let mut wire = keyside.wire();
    wire.send(large(ENDLESS).bytes());
    let head = wire.head().expect("a head");
    assert_eq!(head.status(), 200, "{:?}", head.start);
    wire
}

fn check_served(name: &str, ask: &Ask, keyside: &Keyside) {
    let answers = [
        ("HTTP/1.1", keyside.ask(ask)),
        ("h2c", H2c::connect(keyside.proxy_addr()).ask(ask)),
    ];
    for (client, answer) in answers {
        assert_eq!(answer.status(), 200, "{name}, {client}: {}", answer.text());
        assert!(answer.is_whole(), "{name}, {client}: {:?}", answer.ending);
    }
}

#[test]
fn stalled_readers_of_one_workspace_hold_up_nobody_over_an_http_2_upstream() {
    let (upstream, keyside) = over_h2_answering(asked_for);
    let keyside = keyside.with_other_key();
    let mut readers: Vec<_> = (0..STALLED).map(|_| stalled(&keyside)).collect();
    let sent = settled("what the provider can send", || upstream.zeroes());
    assert!(
        sent < STALLED * ENDLESS,
        "they are not stalled: {sent} bytes"
    );
    for workspace in ["other", "acme"] {
        for (size, ask) in [("small", Ask::chat()), ("large", large(LARGE))] {
            let name = format!("a {size} answer for {workspace}, {STALLED} of acme's stalled");
            check_served(&name, &ask.workspace(workspace), &keyside);
        }
    }
    for reader in &mut readers {
        let more = reader.piece().expect("the rest of its answer");
        assert!(!more.is_empty(), "a stalled reader was cut off meanwhile");
    }
}

#[test]
fn stalled_streams_of_one_client_connection_hold_up_no_other_client() {
    let (upstream, keyside) = over_h2_answering(asked_for);
    let mut client = H2c::connect(keyside.proxy_addr());
    // More than go over one upstream connection.
    let _stalled: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = client.open(&large(ENDLESS).bare(), true);
            assert_eq!(client.head(&mut stream).status(), 200);
            stream
        })
        .collect();
    let connections = upstream.connections();
    settled("what the provider can send", || upstream.zeroes());
    let name = format!("beside 100 stalled streams on {connections} connections");
    check_served(&name, &Ask::chat(), &keyside);
    check_served(&name, &large(LARGE), &keyside);
}

/// Repeatedly sends concurrent requests with three credentials, each with its name in a header.
fn mix(keyside: &Keyside) {
    keyside.add(json!({
        "workspaceId": "acme", "provider": "openai", "label": "second",
        "secret": "sk-proj-e2eKeySideSecond0123456789abcdefghijklmnop",
    }));
    let asks = [
        Ask::chat(),
        Ask::chat().workspace("other"),
        Ask::chat().header("X-Keyside-Label", "second"),
    ];
    thread::scope(|scope| {
        for ask in &asks {
            for _ in 0..4 {
                scope.spawn(move || {
                    let mut wire = keyside.wire();
                    for _ in 0..10 {
                        let answer = wire.ask(ask);
                        assert_eq!(answer.status(), 200, "{}", answer.text());
                    }
                });
            }
        }
    });
}

/// Checks what was seen: the number of a connection, and the credential of a request on it.
fn check_apart(seen: impl IntoIterator<Item = (usize, String)>) {
    let mut by_connection = BTreeMap::<_, BTreeSet<_>>::new();
    for (connection, credential) in seen {
        by_connection
            .entry(connection)
            .or_default()
            .insert(credential);
    }
    for (connection, credentials) in &by_connection {
        assert_eq!(
            credentials.len(),
            1,
            "connection {connection} of {} carried {credentials:?}",
            by_connection.len()
        );
    }
    let all: BTreeSet<_> = by_connection.values().flatten().collect();
    assert_eq!(all.len(), 3, "{all:?}");
    for key in [KEY, OTHER_KEY] {
        assert!(all.contains(&format!("Bearer {key}")), "{key}: {all:?}");
    }
}

#[test]
fn no_http_2_connection_carries_two_credentials() {
    let (upstream, keyside) = over_h2_answering(asked_for);
    let keyside = keyside.with_other_key();
    mix(&keyside);
    check_apart(upstream.requests().iter().map(|seen| {
        let credential = &seen.head.headers()["authorization"];
        let credential = credential.to_str().expect("text").to_owned();
        (seen.connection, credential)
    }));
}

#[test]
fn no_http_1_connection_carries_two_credentials() {
    let upstream = Upstream::answering(|_| reply(200, "", b"{}"));
    let keyside = Keyside::with_openai(&upstream.base_url()).with_other_key();
    mix(&keyside);
    check_apart(upstream.requests().iter().map(|seen| {
        let credential = seen.header("authorization").expect("a credential");
        (seen.connection, credential.to_owned())
    }));
}
