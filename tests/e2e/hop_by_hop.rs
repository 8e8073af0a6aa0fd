//! Hop-by-hop headers, and those that `Connection` names, are removed and never replace ours.

use crate::harness::{Ask, KEY, Pair, Seen, reply, reply_in_chunks};

/// Sends a request with these headers and hands what arrived upstream to `judge`.
fn check(pair: &Pair, name: &str, headers: &[(&str, &str)], judge: impl Fn(&Seen)) {
    let ask = headers
        .iter()
        .fold(Ask::chat(), |ask, (key, value)| ask.header(key, value));
    let (seen, answer) = pair.exchange(&ask, reply(200, "", b"ok"));
    assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
    let ours = [format!("Bearer {KEY}")];
    assert_eq!(seen.headers_named("authorization"), ours, "{name}");
    assert_eq!(seen.body, br#"{"model":"m"}"#, "{name}: the body");
    judge(&seen);
}

#[test]
fn a_nominated_credential_header_still_leaves_with_our_key() {
    let pair = Pair::new();
    for nominated in [
        "authorization",
        "Authorization, close",
        "x-api-key, authorization",
        "AUTHORIZATION",
        "keep-alive , authorization , x-nothing",
    ] {
        check(&pair, nominated, &[("Connection", nominated)], |_| {});
    }
}

#[test]
fn a_nominated_header_of_the_client_ends_here() {
    let pair = Pair::new();
    check(
        &pair,
        "one",
        &[("Connection", "x-mine"), ("X-Mine", "1")],
        |seen| {
            assert_eq!(seen.header("x-mine"), None);
        },
    );
    let headers = [
        ("Connection", "x-first, X-Second"),
        ("X-First", "1"),
        ("Connection", "x-third"),
        ("X-Second", "2"),
        ("X-Third", "3"),
        ("X-Stays", "4"),
    ];
    check(&pair, "several, in two fields", &headers, |seen| {
        for gone in ["x-first", "x-second", "x-third"] {
            assert_eq!(seen.header(gone), None, "{gone}");
        }
        assert_eq!(seen.header("x-stays"), Some("4"));
    });
}

#[test]
fn headers_that_frame_the_message_cannot_be_nominated_away() {
    let pair = Pair::new();
    for nominated in [
        "host",
        "content-length",
        "host, content-length, content-type",
    ] {
        check(&pair, nominated, &[("Connection", nominated)], |seen| {
            assert_eq!(seen.headers_named("host").len(), 1, "{nominated}");
        });
    }
}

#[test]
fn headers_of_one_hop_stay_on_it() {
    let pair = Pair::new();
    let headers = [
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers"),
        ("Trailer", "X-Sum"),
        ("Proxy-Authorization", "Basic abc"),
        ("Proxy-Authenticate", "Basic"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("Connection", "Upgrade, HTTP2-Settings"),
    ];
    check(&pair, "all of them", &headers, |seen| {
        for gone in [
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "proxy-authenticate",
        ] {
            assert_eq!(seen.header(gone), None, "{gone}");
        }
        assert_eq!(
            seen.header("upgrade"),
            None,
            "only a WebSocket is passed through"
        );
        assert_eq!(seen.header("http2-settings"), None);
    });
}

#[test]
fn what_is_for_keyside_stays_with_keyside() {
    let pair = Pair::new();
    let headers = [
        ("X-Keyside-Label", "default"),
        ("X-Keyside-Environment", "live"),
        ("X-Keyside-Run", "run-1"),
        ("X-Keyside-Tag", "nightly"),
        ("X-Keyside-Later", "unknown"),
        ("x-keyside-credential", "cred_forged"),
    ];
    check(&pair, "every header of ours", &headers, |seen| {
        let ours =
            |(name, _): &&(String, String)| name.to_ascii_lowercase().starts_with("x-keyside");
        assert_eq!(seen.headers.iter().find(ours), None);
    });
}

#[test]
fn the_upstream_cannot_speak_in_our_name() {
    let forged = "X-Keyside-Credential: cred_forged\r\nX-Keyside-Request-Id: forged\r\n\
        X-Keyside-Later: forged\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n";
    let (_, answer) = Pair::new().exchange(&Ask::chat(), reply(200, forged, b"{}"));
    assert!(!answer.holds("forged"), "{:?}", answer.headers);
    assert_eq!(answer.headers_named("x-keyside-request-id").len(), 1);
    assert_eq!(answer.headers_named("x-keyside-credential").len(), 1);
    assert_eq!(
        answer.header("x-hop"),
        None,
        "nominated by the upstream for its own hop"
    );
    assert_eq!(answer.header("x-keyside-credential-label"), Some("default"));
    assert_eq!(answer.header("x-keyside-environment"), Some("live"));
}

#[test]
fn the_upstream_cannot_speak_in_our_name_in_trailers_either() {
    let names = [
        "X-Keyside-Credential",
        "X-Keyside-Environment",
        "Access-Control-Allow-Origin",
    ];
    let trailers = names.map(|name| format!("{name}: forged\r\n")).concat();
    let announced = format!("Trailer: X-Sum, {}\r\n", names.join(", "));
    let answer = reply_in_chunks(&announced, &[b"body"], &format!("X-Sum: 1\r\n{trailers}"));
    let (_, answer) = Pair::new().exchange(&Ask::chat().header("TE", "trailers"), answer);
    assert!(!answer.holds("forged"), "{:?}", answer.trailers);
    assert_eq!(answer.trailers.len(), 1, "{:?}", answer.trailers);
}
