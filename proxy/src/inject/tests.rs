use std::sync::Arc;

use http::Request;
use keyside_config::{Settings, Sources};

use super::*;
use crate::{
    destination::{Destinations, SharedResources},
    egress::Egress,
    metrics::Metrics,
    quota::Quota,
};

const CANARY: &str = "sk-canary-inject-7f3a";

fn rewrite(provider: &str, target: &str, upgrade: bool, fields: &[(&str, &str)]) -> Parts {
    let settings = Settings::load(&Sources::default()).unwrap().settings;
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let egress = Arc::new(Egress::direct());
    let (catalogue, proxy) = (&settings.catalogue, &settings.proxy);
    let shared = SharedResources::new(catalogue, proxy, &egress, Quota::new(1));
    let destinations = Destinations::new(catalogue, &proxy.deadlines, &metrics, &shared);
    let destination = destinations.get(provider).unwrap();
    let mut request = Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let head = request.body(()).unwrap().into_parts().0;
    let outbound = Outbound {
        destination,
        prefix: "/prefix",
        rest: head.uri.path(),
        upgrade,
        accept_encoding: AcceptEncoding::Identity,
        tag_headers: &[HeaderName::from_static("x-tenant")],
    };
    let secret = Secret::from_plaintext(CANARY.into()).unwrap();
    outbound.rewrite(head.clone(), &secret).unwrap()
}

#[test]
fn whatever_credential_the_client_sends_is_replaced_by_the_one_granted() {
    let fields = [
        ("authorization", "Bearer dummy"),
        ("authorization", "Bearer dummy2"),
        ("x-api-key", "dummy"),
        ("x-goog-api-key", "dummy"),
        ("api-key", "dummy"),
        ("cookie", "session=dummy"),
        ("proxy-authorization", "Basic dummy"),
    ];
    for (provider, name, value) in [
        ("openai", "authorization", format!("Bearer {CANARY}")),
        ("anthropic", "x-api-key", CANARY.into()),
        ("gemini", "x-goog-api-key", CANARY.into()),
        ("azure-openai", "api-key", CANARY.into()),
    ] {
        let head = rewrite(
            provider,
            "/v1/models?key=dummy&api-key=dummy",
            false,
            &fields,
        );
        let dummies = head
            .headers
            .values()
            .filter(|v| v.as_bytes().windows(5).any(|w| w == b"dummy"));
        assert_eq!(dummies.count(), 0, "{provider}");
        assert_eq!(
            head.headers.get_all(name).iter().collect::<Vec<_>>(),
            [&value[..]],
            "{provider}"
        );
        assert!(head.headers[name].is_sensitive());
        assert_eq!(head.uri.query(), None, "{provider}");
    }
}

#[test]
fn a_nominated_header_goes_and_the_injected_one_stays() {
    let fields = [
        ("connection", "authorization, x-mine, close"),
        ("x-mine", "1"),
        ("x-yours", "2"),
    ];
    let head = rewrite("openai", "/v1/models", false, &fields);
    assert_eq!(head.headers["authorization"], format!("Bearer {CANARY}"));
    assert!(!head.headers.contains_key("x-mine"));
    assert!(!head.headers.contains_key("connection"));
    assert_eq!(head.headers["x-yours"], "2");
}

#[test]
fn nothing_of_the_runners_network_and_no_keyside_header_is_forwarded() {
    let names = [
        "x-forwarded-for",
        "x-forwarded-host",
        "forwarded",
        "via",
        "x-real-ip",
        "referer",
        "x-keyside-label",
        "x-keyside-anything",
        "x-tenant",
        "te",
        "upgrade",
        "keep-alive",
        "expect",
    ];
    let fields: Vec<_> = names.iter().map(|name| (*name, "1")).collect();
    let head = rewrite("openai", "/v1/models", false, &fields);
    let mut left: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["accept-encoding", "authorization"]);
}

#[test]
fn the_target_is_configurations_prefix_and_the_clients_path_and_query() {
    let head = rewrite("openai", "/v1/models?a=%20b&c", false, &[]);
    assert_eq!(head.uri, "/prefix/v1/models?a=%20b&c");
    let head = rewrite("azure-openai", "/openai/models?api-version=1", false, &[]);
    assert_eq!(head.uri, "/prefix/openai/models?api-version=1");
}

#[test]
fn a_header_the_provider_needs_is_set_unless_the_client_did() {
    let head = rewrite("anthropic", "/v1/models", false, &[]);
    assert_eq!(head.headers["anthropic-version"], "2023-06-01");
    let head = rewrite(
        "anthropic",
        "/v1/models",
        false,
        &[("anthropic-version", "2099-01-01")],
    );
    assert_eq!(head.headers["anthropic-version"], "2099-01-01");
}

#[test]
fn a_websocket_handshake_keeps_the_protocols_that_the_provider_is_known_to_speak() {
    let fields = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        (
            "sec-websocket-protocol",
            "realtime, OpenAI-Insecure-API-Key.dummy, openai-beta.realtime-v1, xai-client-secret.dummy, Realtime, other",
        ),
        ("sec-websocket-extensions", "permessage-deflate"),
    ];
    let head = rewrite("openai", "/v1/realtime?model=m", true, &fields);
    assert_eq!(
        head.headers["sec-websocket-protocol"],
        "realtime, openai-beta.realtime-v1"
    );
    assert_eq!(head.headers["upgrade"], "websocket");
    assert!(!head.headers.contains_key("sec-websocket-extensions"));

    let head = rewrite("openai", "/v1/models", false, &fields);
    assert!(!head.headers.contains_key("sec-websocket-protocol"));
    let head = rewrite("gemini", "/ws/live", true, &fields);
    assert!(!head.headers.contains_key("sec-websocket-protocol"));
}
