//! Exactly one credential leaves: ours, wherever the client put one of its own.

use crate::harness::{Ask, CHAT, KEY, Keyside, Upstream, holds};

/// A provider, a request that its catalogue entry allows, and the one header that carries the key.
const PROVIDERS: &[(&str, &str, &str, &str)] = &[
    ("openai", "/v1/chat/completions", "authorization", "Bearer "),
    (
        "azure-openai",
        "/openai/deployments/d/chat/completions?api-version=1",
        "api-key",
        "",
    ),
    ("anthropic", "/v1/messages", "x-api-key", ""),
    (
        "gemini",
        "/v1beta/models/gemini-2.5-flash:generateContent",
        "x-goog-api-key",
        "",
    ),
    (
        "mistral",
        "/v1/chat/completions",
        "authorization",
        "Bearer ",
    ),
    ("cohere", "/v2/chat", "authorization", "Bearer "),
    ("bedrock", "/model/m/converse", "authorization", "Bearer "),
];

/// What the client believes to be its credential.
const OWN: &str = "client-own-credential-ZZ81";

/// Sends `ask` for each provider and checks what left: our key once, in its place, and `OWN` nowhere.
fn check(name: &str, vary: impl Fn(Ask) -> Ask) {
    for (provider, path, header, prefix) in PROVIDERS {
        let upstream = Upstream::ok();
        let keyside = Keyside::builder()
            .provider(provider, &upstream.base_url())
            .start();
        keyside.workspace("acme");
        keyside.add_key("acme", provider, "default", KEY);
        let answer = keyside.ask(&vary(Ask::post(&format!("/{provider}{path}"))));
        assert_eq!(
            answer.status(),
            200,
            "{provider}, {name}: {}",
            answer.text()
        );
        let seen = upstream.only();
        assert_eq!(
            seen.headers_named(header),
            [format!("{prefix}{KEY}")],
            "{provider}, {name}"
        );
        let raw = String::from_utf8_lossy(&seen.raw).into_owned();
        assert_eq!(raw.matches(KEY).count(), 1, "{provider}, {name}: {raw}");
        assert!(!raw.contains(OWN), "{provider}, {name}: {raw}");
    }
}

#[test]
fn a_credential_in_any_header_is_replaced_by_ours() {
    check("every header at once", |ask| {
        ask.header("Authorization", format!("Bearer {OWN}"))
            .header("X-Api-Key", OWN)
            .header("x-goog-api-key", OWN)
            .header("API-KEY", OWN)
            .header("Proxy-Authorization", format!("Basic {OWN}"))
            .header("Cookie", format!("session={OWN}"))
    });
}

#[test]
fn a_credential_header_repeated_leaves_no_trace() {
    check("each of them twice", |ask| {
        ask.header("x-api-key", OWN)
            .header("X-API-Key", OWN)
            .header("x-goog-api-key", OWN)
            .header("x-goog-api-key", OWN)
            .header("api-key", OWN)
            .header("api-key", "")
            .header("Cookie", format!("a={OWN}"))
            .header("Cookie", format!("b={OWN}"))
    });
}

#[test]
fn two_authorization_headers_are_refused_or_replaced() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let ask = Ask::chat()
        .header("Authorization", format!("Bearer {OWN}"))
        .header("authorization", format!("Bearer {OWN}2"));
    let answer = keyside.ask(&ask);
    assert!(!holds(&upstream.bytes(), OWN), "{}", answer.text());
    match answer.status() {
        400 => assert_eq!(upstream.connections(), 0),
        _ => assert_eq!(
            upstream.only().headers_named("authorization"),
            [format!("Bearer {KEY}")]
        ),
    }
}

#[test]
fn a_credential_in_the_query_is_taken_out_and_the_rest_stays() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let cases = [
        ("alone", format!("?key={OWN}"), ""),
        ("first", format!("?key={OWN}&a=1&b=2"), "?a=1&b=2"),
        ("in the middle", format!("?a=1&key={OWN}&b=2"), "?a=1&b=2"),
        ("last", format!("?a=1&b=2&access_token={OWN}"), "?a=1&b=2"),
        ("both", format!("?access_token={OWN}&a=1&key={OWN}"), "?a=1"),
        ("twice", format!("?key={OWN}&key={OWN}&a=1"), "?a=1"),
        (
            "with its name escaped",
            format!("?a=1&%6Bey={OWN}&b=2"),
            "?a=1&b=2",
        ),
        (
            "with its whole name escaped",
            format!("?%61ccess%5ftoken={OWN}&b=2"),
            "?b=2",
        ),
        ("in capitals", format!("?a=1&KEY={OWN}"), "?a=1"),
    ];
    for (index, (name, query, left)) in cases.iter().enumerate() {
        let answer = keyside.ask(&Ask::post(&format!("{CHAT}{query}")));
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        let target = upstream.wait_for(index + 1)[index].target().to_owned();
        assert_eq!(target, format!("/v1/chat/completions{left}"), "{name}");
    }
    assert!(!holds(&upstream.bytes(), OWN));
}

#[test]
fn a_query_that_only_resembles_a_credential_is_passed_on_exactly() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let queries = [
        "?keys=1",
        "?monkey=2",
        "?a=key=3",
        "?a=%26key%3D1",
        "?a=b+c%20d",
        "?a",
        "?a=&&b",
        "?x=%7E~",
    ];
    for (index, query) in queries.iter().enumerate() {
        let answer = keyside.ask(&Ask::post(&format!("{CHAT}{query}")));
        assert_eq!(answer.status(), 200, "{query}: {}", answer.text());
        let target = upstream.wait_for(index + 1)[index].target().to_owned();
        assert_eq!(target, format!("/v1/chat/completions{query}"));
    }
}

#[test]
fn a_subprotocol_without_an_upgrade_carries_no_credential_either() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let value = format!("realtime, openai-insecure-api-key.{OWN}");
    keyside.ask(&Ask::chat().header("Sec-WebSocket-Protocol", value));
    assert!(!holds(&upstream.bytes(), OWN), "{:?}", upstream.requests());
}

#[test]
fn a_credential_in_a_subprotocol_is_taken_out_and_the_rest_stays() {
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["realtime, openai-insecure-api-key.{OWN}, openai-beta.realtime-v1"],
            &["realtime", "openai-beta.realtime-v1"],
        ),
        (&["openai-insecure-api-key.{OWN}"], &[]),
        (
            &["realtime", "openai-insecure-api-key.{OWN}"],
            &["realtime"],
        ),
        (&["realtime,openai-insecure-api-key.{OWN}"], &["realtime"]),
        (&["OpenAI-Insecure-API-Key.{OWN} ,realtime"], &["realtime"]),
    ];
    for (sent, left) in cases {
        let upstream = Upstream::ok();
        let keyside = Keyside::with_openai(&upstream.base_url());
        let upgrade = Ask::get("/openai/v1/realtime?model=m")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        let ask = sent.iter().fold(upgrade, |ask, value| {
            ask.header("Sec-WebSocket-Protocol", value.replace("{OWN}", OWN))
        });
        assert_eq!(keyside.ask(&ask).status(), 200, "{sent:?}");
        let seen = upstream.only();
        assert!(!seen.holds(OWN), "{sent:?}: {:?}", seen.headers);
        let values = seen.headers_named("sec-websocket-protocol").join(",");
        let values: Vec<_> = values
            .split(',')
            .map(str::trim)
            .filter(|v| !v.is_empty())
            .collect();
        assert_eq!(values, *left, "{sent:?}");
        assert_eq!(
            seen.headers_named("authorization"),
            [format!("Bearer {KEY}")]
        );
    }
}

#[test]
fn a_credential_in_a_trailer_does_not_leave() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let names = [
        "Authorization",
        "X-Api-Key",
        "x-goog-api-key",
        "Api-Key",
        "Cookie",
        "X-Keyside-Tag",
    ];
    for name in names {
        let trailers = format!("{name}: {OWN}\r\nX-Sum: 1\r\n");
        let ask = Ask::chat()
            .header("TE", "trailers")
            .header("Trailer", format!("{name}, X-Sum"))
            .chunks(&[b"body"], &trailers);
        let answer = keyside.ask(&ask);
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
    }
    for seen in upstream.requests() {
        assert_eq!(seen.body, b"body");
        assert!(!seen.holds(OWN), "{:?}", seen.trailers);
    }
}
