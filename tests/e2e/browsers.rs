//! A web page on this machine is refused, whatever host name or trick it uses.

use crate::harness::{Ask, Keyside, Upstream, Wire, expect, reply};

/// Sends each request and expects this refusal, with nothing upstream and nothing allowed to a
/// page.
fn check(code: &str, cases: Vec<(&str, Ask)>) {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    for (name, ask) in cases {
        expect::refused(name, &keyside.ask(&ask), 403, code);
    }
    assert_eq!(upstream.connections(), 0);
    let answer = keyside.ask(&Ask::chat());
    assert_eq!(answer.status(), 200, "and a program is served");
    expect::closed_to_browsers("a program", &answer);
}

#[test]
fn a_request_of_a_web_page_is_refused() {
    let image = || Ask::get("/w/acme/openai/v1/models").without("X-Keyside-Workspace");
    let form = || Ask::post("/w/acme/openai/v1/chat/completions").without("X-Keyside-Workspace");
    check(
        "browser_not_allowed",
        vec![
            (
                "an image",
                image()
                    .header("Sec-Fetch-Site", "cross-site")
                    .header("Sec-Fetch-Dest", "image"),
            ),
            (
                "an image of the same site",
                image().header("Sec-Fetch-Site", "same-site"),
            ),
            (
                "a page of the same origin",
                image().header("Sec-Fetch-Site", "same-origin"),
            ),
            (
                "a navigation",
                image()
                    .header("Sec-Fetch-Site", "none")
                    .header("Sec-Fetch-Mode", "navigate"),
            ),
            (
                "a form",
                form()
                    .header("Origin", "https://attacker.example")
                    .set("Content-Type", "text/plain"),
            ),
            ("a sandboxed frame", form().header("Origin", "null")),
            (
                "a page of localhost",
                form().header("Origin", "http://localhost:3000"),
            ),
            (
                "a page of this very address",
                form().header("Origin", "http://localhost"),
            ),
            ("an origin without a value", form().header("Origin", "")),
            (
                "a fetch site without a value",
                form().header("Sec-Fetch-Site", ""),
            ),
            (
                "an unknown fetch site",
                form().header("sec-fetch-site", "later-addition"),
            ),
        ],
    );
}

#[test]
fn a_browser_without_an_origin_is_recognised_by_other_headers() {
    let get = || Ask::get("/openai/v1/models");
    check(
        "browser_not_allowed",
        vec![
            ("an image", get().header("Sec-Fetch-Dest", "image")),
            ("a click", get().header("Sec-Fetch-User", "?1")),
            (
                "a navigation over plain http",
                get().header("Upgrade-Insecure-Requests", "1"),
            ),
            ("a client hint", get().header("Sec-CH-UA", "\"Chromium\"")),
        ],
    );
}

#[test]
fn a_program_may_send_what_node_s_fetch_sends() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let ask = Ask::get("/openai/v1/models").header("Sec-Fetch-Mode", "cors");
    assert_eq!(keyside.ask(&ask).status(), 200);
}

#[test]
fn under_a_name_of_the_network_a_get_needs_a_header_that_no_page_can_send() {
    // No browser sends Fetch Metadata over plain http to such a name, and with an image no Origin
    // either.
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.hosts", r#"["keyside.internal"]"#)
        .start()
        .with_key();
    let as_page = |method: &str, host: &str| {
        Ask::new(method, "/w/acme/openai/v1/models")
            .set("Host", host)
            .header("User-Agent", "Mozilla/5.0")
            .header("Accept", "image/avif,image/webp,*/*;q=0.8")
            .header("Accept-Language", "en")
            .header("Referer", "http://attacker.example/")
    };
    let port = keyside.proxy_addr().port();
    for host in [
        "keyside.internal".to_owned(),
        format!("Keyside.Internal:{port}"),
    ] {
        let answer = keyside.ask(&as_page("GET", &host));
        expect::refused(&host, &answer, 403, "browser_not_allowed");
        let json = answer.json();
        let message = expect::message_of(&json).expect("a message");
        for way_out in ["Authorization", "x-api-key", "X-Keyside-Workspace"] {
            assert!(message.contains(way_out), "{message}");
        }
    }
    assert_eq!(
        keyside.ask(&as_page("HEAD", "keyside.internal")).status(),
        403
    );
    assert_eq!(upstream.connections(), 0);
    for (name, value) in [
        ("Authorization", "Bearer dummy"),
        ("x-api-key", "dummy"),
        ("api-key", "dummy"),
        ("x-goog-api-key", "dummy"),
        ("X-Keyside-Workspace", "acme"),
    ] {
        let ask = as_page("GET", "keyside.internal").header(name, value);
        let answer = keyside.ask(&ask);
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
    }
    let answer = keyside.ask(&as_page("GET", "localhost"));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let post = Ask::post("/w/acme/openai/v1/chat/completions")
        .without("X-Keyside-Workspace")
        .set("Host", "keyside.internal");
    assert_eq!(
        keyside.ask(&post).status(),
        200,
        "a POST always has its Origin"
    );
}

#[test]
fn a_preflight_is_refused() {
    let preflight = Ask::new("OPTIONS", "/openai/v1/chat/completions")
        .header("Origin", "https://attacker.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "x-keyside-workspace")
        .header("Access-Control-Request-Private-Network", "true");
    check(
        "browser_not_allowed",
        vec![
            ("a preflight", preflight.clone()),
            ("a preflight with a workspace", preflight.workspace("acme")),
        ],
    );
}

#[test]
fn a_web_socket_of_a_page_is_refused() {
    let upgrade = Ask::get("/openai/v1/realtime?model=m")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    check(
        "browser_not_allowed",
        vec![(
            "a web socket",
            upgrade.header("Origin", "https://attacker.example"),
        )],
    );
}

#[test]
fn a_name_that_is_not_ours_is_refused() {
    let named = |host: &str| Ask::chat().set("Host", host);
    check(
        "host_not_allowed",
        vec![
            ("rebinding", named("attacker.example")),
            ("rebinding with a port", named("attacker.example:7380")),
            ("0.0.0.0", named("0.0.0.0")),
            ("0.0.0.0 with a port", named("0.0.0.0:7380")),
            ("another loopback address", named("127.0.0.2")),
            ("localhost with a dot", named("localhost.")),
            ("127.0.0.1 with a dot", named("127.0.0.1.:7380")),
            ("a subdomain of localhost", named("page.localhost")),
            (
                "a name that starts like ours",
                named("localhost.attacker.example"),
            ),
            ("a wildcard name service", named("127.0.0.1.nip.io")),
            ("a number", named("2130706433")),
            ("unspecified, IPv6", named("[::]")),
            ("mapped into IPv6", named("[::ffff:127.0.0.1]")),
        ],
    );
}

#[test]
fn every_name_of_ours_is_served() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.hosts", r#"["keyside.internal"]"#)
        .start()
        .with_key();
    let port = keyside.proxy_addr().port();
    for host in [
        "localhost",
        "LOCALHOST",
        "127.0.0.1",
        "[::1]",
        "keyside.internal",
        "Keyside.Internal",
    ] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            let answer = keyside.ask(&Ask::chat().set("Host", &host));
            assert_eq!(answer.status(), 200, "{host}: {}", answer.text());
        }
    }
}

#[test]
fn no_other_listener_grants_anything_to_a_page() {
    let keyside = Keyside::builder().start();
    let token = format!("Bearer {}", keyside.token());
    let pages = [
        (keyside.admin_addr(), "/api/workspaces"),
        (keyside.observe_addr(), "/metrics"),
        (keyside.observe_addr(), "/healthz"),
    ];
    for (address, path) in pages {
        for method in ["GET", "OPTIONS"] {
            let ask = Ask::new(method, path)
                .set("Host", &address.to_string())
                .header("Origin", "https://attacker.example")
                .header("Access-Control-Request-Method", "GET")
                .header("Authorization", &token);
            expect::closed_to_browsers(path, &Wire::tcp(address).ask(&ask));
        }
    }
}

#[test]
fn the_observe_listener_on_loopback_answers_only_under_loopback_s_names() {
    let ask = |port: u16, host: &str| {
        let ask = Ask::new("GET", "/metrics").set("Host", host);
        Wire::tcp(([127, 0, 0, 1], port).into()).ask(&ask).status()
    };
    let keyside = Keyside::builder().start();
    let port = keyside.observe_addr().port();
    for host in ["localhost", "LOCALHOST:7382", "127.0.0.1:7382", "[::1]"] {
        assert_eq!(ask(port, host), 200, "{host}");
    }
    for host in [
        "attacker.example",
        "attacker.example:7382",
        "localhost.attacker.example",
        "192.0.2.1",
        "0.0.0.0",
    ] {
        assert_eq!(ask(port, host), 403, "{host}");
    }
    let scraped = Keyside::builder()
        .set("observe.listen", r#""0.0.0.0:0""#)
        .start();
    let port = scraped.observe_addr().port();
    assert_eq!(ask(port, "keyside.monitoring.svc:7382"), 200);
}

#[test]
fn cors_headers_of_the_upstream_are_not_passed_on() {
    let headers = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Private-Network: true\r\n\
        Alt-Svc: h3=\":443\"\r\nX-Plain: kept\r\n";
    let upstream = Upstream::answering(move |_| reply(200, headers, b"{}"));
    let keyside = Keyside::with_openai(&upstream.base_url());
    let answer = keyside.ask(&Ask::chat());
    expect::closed_to_browsers("an upstream's answer", &answer);
    assert_eq!(
        answer.header("alt-svc"),
        None,
        "nothing leads the client around Keyside"
    );
    assert_eq!(answer.header("x-plain"), Some("kept"));
}

#[test]
fn a_listener_on_every_address_is_not_called_0_0_0_0() {
    // No browser sends Origin or Sec-Fetch-Site with an image from there.
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.listen", r#"["0.0.0.0:0"]"#)
        .start()
        .with_key();
    let port = keyside.proxy_addr().port();
    let ask = |host: &str| {
        let address = ([127, 0, 0, 1], port).into();
        Wire::tcp(address)
            .ask(&Ask::get("/openai/v1/models").set("Host", &format!("{host}:{port}")))
    };
    for host in ["0.0.0.0", "[::]"] {
        expect::refused(host, &ask(host), 403, "host_not_allowed");
    }
    assert_eq!(ask("localhost").status(), 200);
}
