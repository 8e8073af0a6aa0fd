//! Configuration determines a request's destination, never the client.

use crate::harness::{Ask, CHAT, KEY, Keyside, Pair, Upstream, expect, reply};

/// Sends raw bytes in which `{ELSEWHERE}` is another server's authority. Whatever the response,
/// that server must receive nothing, and the configured server only requests that are addressed to
/// it.
fn check(cases: &[(&str, &str)]) {
    let (upstream, elsewhere) = (Upstream::ok(), Upstream::ok());
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.deadlines.header", "\"1s\"")
        .set("proxy.deadlines.idle", "\"1s\"")
        .start()
        .with_key();
    for (name, text) in cases {
        let text = text.replace("{ELSEWHERE}", &elsewhere.address().to_string());
        let text = text.replace("{OURS}", &keyside.proxy_addr().to_string());
        let answer = keyside.raw(text);
        let said = String::from_utf8_lossy(&answer);
        assert!(said.starts_with("HTTP/1.1 4"), "{name}: {said:?}");
        assert!(!said.contains(KEY), "{name}: {said:?}");
        assert_eq!(
            upstream.connections(),
            0,
            "{name}: it was not refused before anything left"
        );
        assert_eq!(
            elsewhere.connections(),
            0,
            "{name}: the client chose the destination"
        );
    }
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200, "and it serves on");
    let host = upstream.address().to_string();
    assert_eq!(upstream.only().headers_named("host"), [host.as_str()]);
}

#[test]
fn a_target_that_names_a_destination_is_refused() {
    check(&[
        (
            "absolute-form",
            "GET http://{ELSEWHERE}/openai/v1/models HTTP/1.1\r\nHost: {ELSEWHERE}\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "absolute-form with our Host",
            "GET http://{ELSEWHERE}/openai/v1/models HTTP/1.1\r\nHost: localhost\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "absolute-form of ourselves",
            "GET http://{OURS}/openai/v1/models HTTP/1.1\r\nHost: {OURS}\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "absolute-form over https",
            "GET https://{ELSEWHERE}/openai/v1/models HTTP/1.1\r\nHost: localhost\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "absolute-form with user information",
            "GET http://localhost@{ELSEWHERE}/openai/v1/models HTTP/1.1\r\nHost: localhost\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "CONNECT",
            "CONNECT {ELSEWHERE} HTTP/1.1\r\nHost: {ELSEWHERE}\r\n\r\n",
        ),
        (
            "CONNECT with our Host",
            "CONNECT {ELSEWHERE} HTTP/1.1\r\nHost: localhost\r\nX-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "CONNECT to a path",
            "CONNECT /openai/v1/models HTTP/1.1\r\nHost: localhost\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "a target that starts with @",
            "GET @{ELSEWHERE}/openai/v1/models HTTP/1.1\r\nHost: localhost\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "a path that starts with @",
            "GET /@{ELSEWHERE}/openai/v1/models HTTP/1.1\r\nHost: localhost\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "a provider with @",
            "GET /openai@{ELSEWHERE}/v1/models HTTP/1.1\r\nHost: localhost\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "a rest that is an authority",
            "GET /openai//{ELSEWHERE}/v1/models HTTP/1.1\r\nHost: localhost\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "a rest that is an address",
            "GET /openai/http://{ELSEWHERE}/v1/models HTTP/1.1\r\nHost: localhost\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "a rest that starts with @",
            "GET /openai/@{ELSEWHERE}/v1/models HTTP/1.1\r\nHost: localhost\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "a target without its slash",
            "GET openai/v1/models HTTP/1.1\r\nHost: localhost\r\nX-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "an asterisk",
            "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nX-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "an asterisk for GET",
            "GET * HTTP/1.1\r\nHost: localhost\r\nX-Keyside-Workspace: acme\r\n\r\n",
        ),
    ]);
}

#[test]
fn anything_but_exactly_one_host_that_is_ours_is_refused() {
    check(&[
        (
            "no Host",
            "GET /openai/v1/models HTTP/1.1\r\nX-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "an empty Host",
            "GET /openai/v1/models HTTP/1.1\r\nHost:\r\nX-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "two Hosts that differ",
            "GET /openai/v1/models HTTP/1.1\r\nHost: localhost\r\nHost: {ELSEWHERE}\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "two Hosts that agree",
            "GET /openai/v1/models HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "two Hosts in one field",
            "GET /openai/v1/models HTTP/1.1\r\nHost: localhost, {ELSEWHERE}\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "another Host",
            "GET /openai/v1/models HTTP/1.1\r\nHost: {ELSEWHERE}.example\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "a Host with user information",
            "GET /openai/v1/models HTTP/1.1\r\nHost: localhost@{ELSEWHERE}\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "a Host with a path",
            "GET /openai/v1/models HTTP/1.1\r\nHost: localhost/{ELSEWHERE}\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "a Host with a port that is none",
            "GET /openai/v1/models HTTP/1.1\r\nHost: localhost:{ELSEWHERE}\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "a Host that only starts like ours",
            "GET /openai/v1/models HTTP/1.1\r\nHost: localhost.attacker.example\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "a Host that only ends like ours",
            "GET /openai/v1/models HTTP/1.1\r\nHost: attacker.localhost\r\n\
             X-Keyside-Workspace: acme\r\n\r\n",
        ),
        (
            "HTTP/1.1 with a Host of spaces",
            "GET /openai/v1/models HTTP/1.1\r\nHost: local host\r\nX-Keyside-Workspace: acme\r\n\r\n",
        ),
    ]);
}

#[test]
fn headers_that_name_a_host_do_not_change_the_destination() {
    let (upstream, elsewhere) = (Upstream::ok(), Upstream::ok());
    let keyside = Keyside::with_openai(&upstream.base_url());
    let other = elsewhere.address().to_string();
    let mut ask = Ask::chat();
    let names = [
        "X-Forwarded-Host",
        "Forwarded",
        "X-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X_Original_URL",
        "X-Original-Host",
        "X-HTTP-Host-Override",
        "X-Envoy-Original-Path",
        "Request-URI",
        "Via",
    ];
    for name in names {
        ask = ask.header(name, &other);
    }
    assert_eq!(keyside.ask(&ask).status(), 200);
    assert_eq!(elsewhere.connections(), 0);
    let seen = upstream.only();
    assert_eq!(seen.target(), "/v1/chat/completions");
    assert_eq!(
        seen.headers_named("host"),
        [upstream.address().to_string().as_str()]
    );
    for gone in names.iter().chain(&["X-Forwarded-For"]) {
        assert_eq!(seen.header(gone), None, "a request is one hop: {gone}");
    }
}

#[test]
fn only_the_request_line_determines_the_method() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let query = "?$httpMethod=DELETE&%24httpMethod=DELETE&_method=DELETE&X-HTTP-Method-Override=DELETE\
        &$httpHeaders=Authorization%3ABearer&method=DELETE&a=1;_method=DELETE";
    let ask = Ask::post(&format!("{CHAT}{query}"))
        .header("X-HTTP-Method-Override", "DELETE")
        .header("X_HTTP_Method_Override", "DELETE")
        .header("X-HTTP-Method", "DELETE")
        .header("X-Method-Override", "DELETE")
        .header("X-Original-Method", "DELETE");
    let answer = keyside.ask(&ask);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let seen = upstream.only();
    assert_eq!(seen.target(), "/v1/chat/completions?a=1");
    assert!(!seen.holds("DELETE"), "{:?}", seen.headers);
}

#[test]
fn a_redirect_is_handed_back_and_not_followed() {
    let elsewhere = Upstream::ok();
    let pair = Pair::new();
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://{}/v1/steal", elsewhere.address());
        let headers = format!("Location: {location}?key={KEY}\r\n");
        let (_, answer) = pair.exchange(&Ask::post(CHAT), reply(status, &headers, b"moved"));
        assert_eq!(
            (answer.status(), answer.text()),
            (status, "moved".to_owned())
        );
        let handed = answer
            .header("location")
            .expect("the redirect's own header");
        assert!(handed.starts_with(&location), "{status}: {handed}");
        expect::keyless("a redirect with the key in it", &answer);
        assert_eq!(elsewhere.connections(), 0, "{status} was followed");
    }
}

#[test]
fn an_endpoint_is_one_of_the_provider_s_own_hosts() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    let add = |endpoint: &str| {
        keyside.try_add(&serde_json::json!({
            "workspaceId": "acme", "provider": "azure-openai", "label": endpoint.len().to_string(),
            "secret": "0123456789abcdef0123456789abcdef", "endpoint": endpoint,
        }))
    };
    for endpoint in [
        "https://attacker.example",
        "https://acme.openai.azure.com.attacker.example",
        "https://attacker.example/acme.openai.azure.com",
        "https://attacker.example?acme.openai.azure.com",
        "https://attacker.example#.openai.azure.com",
        "https://acme.openai.azure.com@attacker.example",
        "https://attacker.example\\.openai.azure.com",
        "https://evilopenai.azure.com",
        "https://openai.azure.com.",
        "https://.openai.azure.com",
        "https://acme.openai.azure.com:8443",
        "https://acme.openai.azure.com/path",
        "http://acme.openai.azure.com",
        "https://127.0.0.1",
        "//acme.openai.azure.com",
        "acme.openai.azure.com",
        "",
    ] {
        let answer = add(endpoint);
        let status = answer.status();
        assert!(
            (400..500).contains(&status),
            "{endpoint}: {status} {}",
            answer.text()
        );
    }
    assert!(keyside.list().is_empty());
    let answer = add("https://acme.openai.azure.com");
    assert_eq!(answer.status(), 201, "{}", answer.text());
}
