//! An upstream that cannot prove its identity gets no byte of the key.

use crate::harness::tls::{Authority, Identity, VALID, Years};
use crate::harness::{Ask, Keyside, Then, Upstream, expect, reply};

/// Starts Keyside with `authority` as the only one it trusts, and the provider at `base_url`.
fn trusting(authority: &Authority, base_url: &str) -> Keyside {
    let builder = Keyside::builder().provider("openai", base_url);
    let file = authority.file_in(builder.home());
    builder
        .variable("SSL_CERT_FILE", file.to_str().expect("a plain path"))
        .start()
        .with_key()
}

fn answering(identity: &Identity) -> Upstream {
    identity.upstream(|_, line| {
        line.write(reply(200, "", b"{}"));
        Then::Keep
    })
}

/// Calls a provider that is configured as `host` and presents `identity`.
fn check_refused(name: &str, host: &str, identity: &Identity) {
    let authority = Authority::new();
    check_refused_under(name, &authority, host, identity);
}

fn check_refused_under(name: &str, authority: &Authority, host: &str, identity: &Identity) {
    let upstream = answering(identity);
    let keyside = trusting(authority, &upstream.url_for(host));
    for _ in 0..2 {
        let answer = keyside.ask(&Ask::chat());
        expect::refused(name, &answer, 502, "upstream_tls");
    }
    assert!(upstream.connections() > 0, "{name}: it was not even tried");
    assert!(
        upstream.bytes().is_empty(),
        "{name}: {:?}",
        upstream.bytes()
    );
}

#[test]
fn a_certificate_of_a_trusted_authority_for_the_configured_name_is_accepted() {
    let authority = Authority::new();
    for host in ["localhost", "127.0.0.1"] {
        let upstream = answering(&authority.issue(&[host], VALID));
        let keyside = trusting(&authority, &upstream.url_for(host));
        let answer = keyside.ask(&Ask::chat());
        assert_eq!(answer.status(), 200, "{host}: {}", answer.text());
        let authority = format!("{host}:{}", upstream.address().port());
        assert_eq!(upstream.only().headers_named("host"), [authority.as_str()]);
    }
}

#[test]
fn an_expired_certificate_gets_nothing() {
    let authority = Authority::new();
    let expired = authority.issue(&["localhost"], Years(2019, 2020));
    check_refused_under("expired", &authority, "localhost", &expired);
}

#[test]
fn a_certificate_of_the_future_gets_nothing() {
    let authority = Authority::new();
    let early = authority.issue(&["localhost"], Years(2119, 2120));
    check_refused_under("not valid yet", &authority, "localhost", &early);
}

#[test]
fn a_self_signed_certificate_gets_nothing() {
    check_refused(
        "self-signed",
        "localhost",
        &Identity::self_signed(&["localhost"]),
    );
}

#[test]
fn a_certificate_of_an_unknown_authority_gets_nothing() {
    let stranger = Authority::new().issue(&["localhost"], VALID);
    check_refused("an unknown authority", "localhost", &stranger);
}

#[test]
fn a_certificate_for_another_name_gets_nothing() {
    let authority = Authority::new();
    for (name, host, named) in [
        ("another name", "localhost", "api.openai.com"),
        ("a name that only ends alike", "localhost", "evil-localhost"),
        ("an address instead of the name", "localhost", "127.0.0.1"),
        ("the name instead of the address", "127.0.0.1", "localhost"),
        ("another address", "127.0.0.1", "127.0.0.2"),
    ] {
        let identity = authority.issue(&[named], VALID);
        check_refused_under(name, &authority, host, &identity);
    }
}

#[test]
fn the_client_cannot_choose_the_name_that_is_verified() {
    let authority = Authority::new();
    let upstream = answering(&authority.issue(&["api.openai.com"], VALID));
    let keyside = trusting(&authority, &upstream.url_for("localhost"));
    let ask = Ask::chat().header("X-Forwarded-Host", "api.openai.com");
    expect::refused("a forwarded name", &keyside.ask(&ask), 502, "upstream_tls");
    assert!(upstream.bytes().is_empty());
}

#[test]
fn an_upstream_that_speaks_no_tls_gets_nothing() {
    let upstream = Upstream::raw(|line| {
        line.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let authority = Authority::new();
    let url = upstream.url_for("localhost").replace("http://", "https://");
    let keyside = trusting(&authority, &url);
    let answer = keyside.ask(&Ask::chat());
    assert_eq!(answer.status(), 502, "{}", answer.text());
    assert!(!crate::harness::holds(&upstream.bytes(), "Bearer"));
}

/// In TLS 1.3 the client has finished its handshake and sent the request when it learns that a
/// client certificate was required (RFC 8446 section 4.4.2.4).
#[test]
fn a_tls_alert_after_the_handshake_is_not_reported_as_unsent() {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"], VALID);
    let upstream = identity.upstream_for(&authority);
    let keyside = trusting(&authority, &upstream.url_for("localhost"));
    let answer = keyside.ask(&Ask::chat());
    expect::refused("no certificate", &answer, 502, "upstream_unreachable");
    assert!(!answer.text().contains("was not sent"), "{}", answer.text());
}
