//! HEAD and OPTIONS of a base URL, with which clients probe the server: answered by Keyside without
//! the provider.

use crate::harness::h2c::H2c;
use crate::harness::{Ask, Keyside, Message, Upstream, eventually, expect};

const BASES: [&str; 7] = [
    "/",
    "/anthropic",
    "/anthropic/",
    "/anthropic/v1",
    "/w/acme/anthropic",
    "/w/acme/anthropic/",
    "/w/acme/openai/v1",
];

fn pointing_at(upstream: &Upstream) -> Keyside {
    Keyside::builder()
        .provider("openai", &upstream.base_url())
        .provider("anthropic", &upstream.base_url())
        .start()
        .with_key()
}

/// Both methods of every base URL, with the workspace only in the path: a client probes before it
/// sends its headers.
fn probes() -> impl Iterator<Item = (u16, Ask)> {
    BASES.into_iter().flat_map(|base| {
        [("HEAD", 200), ("OPTIONS", 204)].map(|(method, status)| (status, Ask::new(method, base)))
    })
}

fn check_probed(ask: &Ask, answer: &Message, status: u16) {
    let name = format!("{} {}", ask.method, ask.target);
    assert_eq!(answer.status(), status, "{name}: {}", answer.text());
    assert!(answer.body.is_empty(), "{name}: {}", answer.text());
    expect::closed_to_browsers(&name, answer);
    expect::keyless(&name, answer);
}

#[test]
fn a_probe_of_a_base_url_is_answered_without_the_provider_and_is_no_run() {
    let upstream = Upstream::ok();
    let keyside = pointing_at(&upstream);
    let mut wire = keyside.wire();
    let mut http2 = H2c::connect(keyside.proxy_addr());
    for (status, ask) in probes() {
        check_probed(&ask, &wire.ask(&ask), status);
        check_probed(&ask, &http2.ask(&ask), status);
    }
    assert_eq!(upstream.connections(), 0);
    // A later run is recorded, so the earlier ones would be too.
    let chat = wire.ask(&Ask::chat().header("X-Keyside-Run", "later"));
    assert_eq!(chat.status(), 200, "in step: {}", chat.text());
    let runs = eventually("the run is recorded", || {
        let runs = keyside.admin("GET", "/api/runs", None).json();
        let runs = runs["items"].as_array().expect("a list").clone();
        (!runs.is_empty()).then_some(runs)
    });
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0]["runId"], "later");
}

#[test]
fn a_web_page_may_not_probe() {
    let keyside = pointing_at(&Upstream::ok());
    for (_, ask) in probes() {
        let name = format!("{} {}", ask.method, ask.target);
        for (header, value) in [
            ("Origin", "https://attacker.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Access-Control-Request-Method", "POST"),
        ] {
            let answer = keyside.ask(&ask.clone().header(header, value));
            assert_eq!(answer.status(), 403, "{name} with {header}");
            expect::closed_to_browsers(&name, &answer);
        }
        let rebound = keyside.ask(&ask.set("Host", "attacker.example"));
        assert_eq!(rebound.status(), 403, "{name} by another name");
    }
}

#[test]
fn only_a_base_url_of_a_known_provider_may_be_probed() {
    let upstream = Upstream::ok();
    let keyside = pointing_at(&upstream);
    for (target, status) in [
        ("/nosuch", 400),
        ("/nosuch/v1", 400),
        ("/w/acme/nosuch", 400),
        ("/anthropic/v2", 403),
        ("/anthropic/v1/messages", 403),
        ("/anthropic/v1/organizations", 403),
        ("/anthropic/..", 403),
    ] {
        for method in ["HEAD", "OPTIONS"] {
            let ask = Ask::new(method, target).workspace("acme");
            let answer = keyside.ask(&ask);
            assert_eq!(answer.status(), status, "{method} {target}");
        }
        let ask = Ask::new("OPTIONS", target).workspace("acme");
        let code = match status {
            400 => "provider_unknown",
            _ => "path_not_allowed",
        };
        expect::refused(target, &keyside.ask(&ask), status, code);
    }
    for target in BASES {
        for method in ["GET", "POST", "DELETE"] {
            let answer = keyside.ask(&Ask::new(method, target).workspace("acme"));
            let status = answer.status();
            assert!([400, 403].contains(&status), "{method} {target}: {status}");
        }
    }
    assert_eq!(upstream.connections(), 0);
}
