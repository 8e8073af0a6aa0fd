//! Custom providers that take their key under a name from the settings: in the query, or in a
//! header that no built-in provider uses.

use crate::harness::{Ask, KEY, Keyside, Upstream, holds, reply};

/// The client's own credential.
const OWN: &str = "client-own-credential-ZZ81";
/// A key that must be escaped in a query.
const RESERVED: &str = "e2e/key+with=reserved/characters+0123456789";
const RESERVED_ESCAPED: &str = "e2e%2Fkey%2Bwith%3Dreserved%2Fcharacters%2B0123456789";

/// Keyside at the most verbose level with OpenAI and two more providers at `upstream`, all with the
/// key `secret`.
fn with_own_providers(upstream: &Upstream, secret: &str) -> Keyside {
    let url = upstream.base_url();
    let keyside = Keyside::builder()
        .provider("openai", &url)
        .provider("in-query", &url)
        .provider("in-header", &url)
        .set("providers.in-query.auth", r#"{ query = "pass" }"#)
        .set(
            "providers.in-header.auth",
            r#"{ header = "x-caller", prefix = "" }"#,
        )
        .set("log.filter", "\"trace\"")
        .start();
    keyside.workspace("acme");
    for provider in ["openai", "in-query", "in-header"] {
        keyside.add_key("acme", provider, "default", secret);
    }
    keyside
}

#[test]
fn whatever_provider_is_asked_only_our_key_leaves() {
    let upstream = Upstream::ok();
    let keyside = with_own_providers(&upstream, KEY);
    for (provider, target) in [
        ("openai", "/v1/models?a=1".to_owned()),
        ("in-header", "/v1/models?a=1".to_owned()),
        ("in-query", format!("/v1/models?a=1&pass={KEY}")),
    ] {
        let ask = Ask::get(&format!(
            "/{provider}/v1/models?pass={OWN}&a=1&P%41SS={OWN}&$pass={OWN};pass[]={OWN}"
        ));
        let ask = ask.header("X-Caller", OWN).header("X_Caller", OWN);
        let answer = keyside.ask(&ask);
        assert_eq!(answer.status(), 200, "{provider}: {}", answer.text());
        let seen = upstream.requests().pop().expect("a request");
        assert_eq!(seen.target(), target, "{provider}");
        let raw = String::from_utf8_lossy(&seen.raw).into_owned();
        assert_eq!(raw.matches(KEY).count(), 1, "{provider}: {raw}");
        assert!(!raw.contains(OWN), "{provider}: {raw}");
    }
}

#[test]
fn a_trailer_of_such_a_name_does_not_leave() {
    let upstream = Upstream::ok();
    let keyside = with_own_providers(&upstream, KEY);
    let ask = Ask::chat()
        .header("TE", "trailers")
        .header("Trailer", "X-Caller, X-Sum")
        .chunks(&[b"body"], &format!("X-Caller: {OWN}\r\nX-Sum: 1\r\n"));
    assert_eq!(keyside.ask(&ask).status(), 200);
    let seen = upstream.only();
    assert_eq!(seen.trailers.len(), 1, "{:?}", seen.trailers);
}

#[test]
fn a_key_in_the_query_does_not_come_back_in_any_form() {
    for (secret, escaped) in [(KEY, KEY), (RESERVED, RESERVED_ESCAPED)] {
        let upstream = Upstream::answering(|seen| {
            let (target, body) = (seen.target(), seen.target().as_bytes());
            reply(
                307,
                &format!("Location: https://elsewhere.example{target}\r\n"),
                body,
            )
        });
        let keyside = with_own_providers(&upstream, secret);
        let answer = keyside.ask(&Ask::get("/in-query/v1/models?a=1"));
        assert_eq!(answer.status(), 307, "{}", answer.text());
        assert_eq!(
            upstream.only().target(),
            format!("/v1/models?a=1&pass={escaped}")
        );
        let masked = format!("/v1/models?a=1&pass={}", "*".repeat(escaped.len()));
        assert_eq!(answer.text(), masked);
        let location = answer
            .header("location")
            .expect("the redirect's own header");
        assert_eq!(location, format!("https://elsewhere.example{masked}"));
        let (_, exit) = keyside.stop();
        for form in [secret, escaped] {
            assert!(
                !holds(exit.stderr.as_bytes(), form),
                "logged: {}",
                exit.stderr
            );
        }
    }
}
