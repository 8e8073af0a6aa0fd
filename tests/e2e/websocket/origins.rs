//! Some programs also send an `Origin`, built from the URL that they call: our own. A web page
//! sends Fetch Metadata with it.

use super::{echo, switching, upgrade};
use crate::harness::{Ask, Keyside, expect};

/// A handshake with this host, and this origin.
fn handshake(host: &str, origin: &str) -> Ask {
    upgrade().set("Host", host).header("Origin", origin)
}

#[test]
fn a_client_that_sends_our_own_origin_is_a_program() {
    let upstream = switching(echo);
    let keyside = Keyside::with_openai(&upstream.base_url());
    let port = keyside.proxy_addr().port();
    for name in ["127.0.0.1", "localhost", "[::1]"] {
        let host = format!("{name}:{port}");
        let mut wire = keyside.wire();
        wire.send(handshake(&host, &format!("http://{host}")).bytes());
        let head = wire.head().expect("an answer to the upgrade");
        assert_eq!(head.status(), 101, "{host}: {:?}", head.headers);
        expect::closed_to_browsers(&host, &head);
    }
    let seen = upstream.wait_for(3);
    for seen in seen {
        assert_eq!(
            seen.header("origin"),
            None,
            "it is ours, not the provider's"
        );
    }
}

#[test]
fn a_handshake_with_another_origin_or_fetch_metadata_is_refused() {
    let upstream = switching(echo);
    let keyside = Keyside::with_openai(&upstream.base_url());
    let port = keyside.proxy_addr().port();
    let host = format!("127.0.0.1:{port}");
    let own = format!("http://{host}");
    let other_port = format!("http://127.0.0.1:{}", port ^ 1);
    let other_name = format!("http://localhost:{port}");
    let longer = format!("{own}.attacker.example");
    let with_path = format!("{own}/");
    for origin in [
        "https://attacker.example",
        "http://127.0.0.1",
        "null",
        "",
        &other_port,
        &other_name,
        &longer,
        &with_path,
    ] {
        let answer = keyside.ask(&handshake(&host, origin));
        expect::refused(origin, &answer, 403, "browser_not_allowed");
    }
    for (name, value) in [
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "websocket"),
        ("Sec-Fetch-Dest", "websocket"),
        ("Origin", "https://attacker.example"),
    ] {
        let answer = keyside.ask(&handshake(&host, &own).header(name, value));
        expect::refused(name, &answer, 403, "browser_not_allowed");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn our_own_origin_without_a_handshake_is_a_browser() {
    let upstream = switching(echo);
    let keyside = Keyside::with_openai(&upstream.base_url());
    let host = keyside.proxy_addr().to_string();
    let own = format!("http://{host}");
    for (name, ask) in [
        ("a POST", Ask::chat()),
        ("a GET", Ask::get("/openai/v1/models")),
        ("no Upgrade", upgrade().without("Upgrade")),
        ("another protocol", upgrade().set("Upgrade", "h2c")),
        ("no Connection", upgrade().without("Connection")),
        (
            "a POST that asks for an upgrade",
            Ask::chat()
                .header("Connection", "Upgrade")
                .header("Upgrade", "websocket"),
        ),
    ] {
        let ask = ask.set("Host", &host).header("Origin", &own);
        expect::refused(name, &keyside.ask(&ask), 403, "browser_not_allowed");
    }
    assert_eq!(upstream.connections(), 0);
}
