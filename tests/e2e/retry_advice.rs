//! `x-should-retry`: true if nothing was sent, false if the provider may have acted on the request
//! and charges for it.

use crate::harness::frames::HEADERS;
use crate::harness::h2_session::{frames_for, over_frames};
use crate::harness::h2c::H2c;
use crate::harness::tls::{Authority, VALID};
use crate::harness::{Ask, Builder, Keyside, Line, Then, Upstream, expect, holds, reply};

/// The response to a client with either version.
fn check(name: &str, keyside: &Keyside, status: u16, code: &str, retry: &str) {
    for (client, answer) in [
        ("HTTP/1.1", keyside.ask(&Ask::chat())),
        ("h2c", H2c::connect(keyside.proxy_addr()).ask(&Ask::chat())),
    ] {
        let name = format!("{name}, {client}");
        expect::refused(&name, &answer, status, code);
        let advice = answer.headers_named("x-should-retry");
        assert_eq!(advice, [retry], "{name}: {}", answer.text());
    }
}

fn at(upstream: &Upstream) -> Builder {
    Keyside::builder().provider("openai", &upstream.base_url())
}

/// The same listener, taken for one that speaks TLS.
fn at_over_tls(upstream: &Upstream) -> Builder {
    let url = upstream.base_url().replace("http://", "https://");
    Keyside::builder().provider("openai", &url)
}

/// Reads everything and never responds.
fn mute(line: &mut Line) {
    while line.some(u64::MAX).is_ok_and(|bytes| !bytes.is_empty()) {}
}

#[test]
fn a_timeout_after_the_request_was_sent_is_not_to_be_retried() {
    let upstream = Upstream::raw(mute);
    let keyside = at(&upstream)
        .set("proxy.deadlines.first_byte", r#""1s""#)
        .start()
        .with_key();
    check("HTTP/1.1", &keyside, 504, "upstream_timeout", "false");
    assert!(holds(&upstream.bytes(), r#"{"model":"m"}"#), "it was sent");

    let (_upstream, builder) = frames_for(|_, session| while session.event().is_some() {});
    let keyside = builder
        .set("proxy.deadlines.first_byte", r#""1s""#)
        .start()
        .with_key();
    check("HTTP/2", &keyside, 504, "upstream_timeout", "false");
}

#[test]
fn a_timeout_of_the_connection_may_be_retried() {
    let upstream = Upstream::raw(mute);
    let keyside = at_over_tls(&upstream)
        .set("proxy.deadlines.connect", r#""1s""#)
        .start()
        .with_key();
    check("no handshake", &keyside, 504, "upstream_timeout", "true");
}

#[test]
fn a_first_byte_timeout_before_anything_was_sent_may_be_retried() {
    let upstream = Upstream::raw(mute);
    let keyside = at_over_tls(&upstream)
        .set("proxy.deadlines.connect", r#""60s""#)
        .set("proxy.deadlines.first_byte", r#""1s""#)
        .start()
        .with_key();
    check("no handshake", &keyside, 504, "upstream_timeout", "true");
}

#[test]
fn a_connection_that_breaks_after_the_request_was_sent_is_not_to_be_retried() {
    let (code, retry) = ("upstream_unreachable", "false");
    let upstream = Upstream::scripted(|_, _| Then::Close);
    let keyside = at(&upstream).start().with_key();
    check("no answer", &keyside, 502, code, retry);

    let upstream = Upstream::scripted(|_, line| {
        line.write("HTTP/1.1 200 OK\r\nContent-Le");
        Then::Close
    });
    let keyside = at(&upstream).start().with_key();
    check("half a head", &keyside, 502, code, retry);

    let upstream = Upstream::scripted(|_, line| {
        line.write("220 smtp.example ESMTP\r\n");
        Then::Close
    });
    let keyside = at(&upstream).start().with_key();
    check("no HTTP", &keyside, 502, code, retry);

    let authority = Authority::new();
    let identity = authority.issue(&["localhost"], VALID);
    let upstream = identity.upstream(|_, _| Then::Close);
    let builder = authority.trusted_at(&upstream.url_for("localhost"));
    let keyside = builder.start().with_key();
    check("no answer over TLS", &keyside, 502, code, retry);

    // INTERNAL_ERROR (RFC 9113, section 7): it may have been in the middle of the work.
    let (_upstream, keyside) = over_frames(|_, session| {
        while let Some(frame) = session.event() {
            if frame.kind == HEADERS {
                session.reset(frame.stream, 2);
            }
        }
    });
    check("a stream that is reset", &keyside, 502, code, retry);

    let (_upstream, keyside) = over_frames(|_, session| drop(session.event()));
    check("a connection over HTTP/2", &keyside, 502, code, retry);
}

#[test]
fn an_upstream_that_could_not_be_reached_may_be_retried() {
    let code = "upstream_unreachable";
    let keyside = Keyside::with_openai("http://127.0.0.1:1");
    check("connection refused", &keyside, 502, code, "true");

    let keyside = Keyside::with_openai("https://no-such-name.invalid");
    check("no such name", &keyside, 502, code, "true");

    let upstream = Upstream::raw(|_| {});
    let keyside = at_over_tls(&upstream).start().with_key();
    check("no handshake", &keyside, 502, code, "true");
    assert!(!holds(&upstream.bytes(), "chat/completions"));
}

#[test]
fn what_a_provider_advises_is_passed_on() {
    for advice in ["true", "false"] {
        let headers = format!("x-should-retry: {advice}\r\nRetry-After: 7\r\n");
        let upstream = Upstream::answering(move |_| reply(503, &headers, b"{}"));
        let answer = Keyside::with_openai(&upstream.base_url()).ask(&Ask::chat());
        assert_eq!(answer.headers_named("x-should-retry"), [advice]);
        assert_eq!(answer.headers_named("retry-after"), ["7"]);
    }
}
