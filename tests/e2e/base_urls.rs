//! Wrong base URLs: the request is served anyway, or its refusal names the right base URL.

mod probing;
mod secrecy;
mod table;

use crate::harness::h2c::H2c;
use crate::harness::{Ask, Keyside, Message, Upstream, expect};
use table::{EITHER, MISTAKES, NO_PROVIDER};

/// A request with the `Host` of `origin`.
fn ask(origin: &str, request: &str) -> Ask {
    let (method, target) = request.split_once(' ').expect("a method and a target");
    let ask = match method {
        "POST" => Ask::post(target),
        _ => Ask::new(method, target).workspace("acme"),
    };
    ask.set("Host", origin.trim_start_matches("http://"))
}

fn origin_of(keyside: &Keyside) -> String {
    format!("http://{}", keyside.proxy_addr())
}

/// The message.
fn message_of(answer: &Message) -> String {
    let body = answer.json();
    expect::message_of(&body)
        .unwrap_or_else(|| panic!("no message in {body}"))
        .to_owned()
}

/// Every URL of this origin in a message, without the origin and without the sentence's own
/// punctuation.
fn bases<'a>(message: &'a str, origin: &str) -> Vec<&'a str> {
    let rest = message.split(origin).skip(1);
    rest.map(|rest| {
        let end = rest
            .find(|c: char| c.is_whitespace() || ",;()\"'`".contains(c))
            .unwrap_or(rest.len());
        rest[..end].trim_end_matches(['.', ':', '?', '!'])
    })
    .collect()
}

/// Whether a message says to set this variable to this URL and to nothing longer.
fn sets(message: &str, variable: &str, origin: &str, base: &str) -> bool {
    let instruction = format!("Set {variable} to {origin}");
    let mut rest = message.split(&instruction).skip(1);
    rest.any(|rest| bases(&format!("{origin}{rest}"), origin).first() == Some(&base))
}

#[test]
fn the_table_has_at_least_thirty_different_mistakes() {
    let mut requests: Vec<_> = MISTAKES
        .iter()
        .map(|mistake| mistake.request)
        .chain(NO_PROVIDER.iter().map(|(request, _)| *request))
        .collect();
    let count = requests.len();
    requests.sort_unstable();
    requests.dedup();
    assert_eq!(requests.len(), count);
    assert!(count >= 30, "{count}");
}

#[test]
fn a_path_near_a_route_is_refused_with_the_route_and_the_base_url() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let origin = origin_of(&keyside);
    let mut wire = keyside.wire();
    let mut wrong = Vec::new();
    for mistake in MISTAKES {
        let answer = wire.ask(&ask(&origin, mistake.request));
        expect::refused(mistake.request, &answer, 403, "path_not_allowed");
        let message = message_of(&answer);
        let meant = |route: &&str| message.contains(&format!("Did you mean {route}?"));
        let named = |(variable, base): &(&str, &str)| sets(&message, variable, &origin, base);
        let only_right = bases(&message, &origin)
            .iter()
            .all(|base| mistake.right.iter().any(|(_, right)| base == right));
        let is_right =
            mistake.meant.iter().any(meant) && mistake.right.iter().any(named) && only_right;
        if !is_right {
            let (request, meant, right) = (mistake.request, mistake.meant, mistake.right);
            wrong.push(format!(
                "{request}: {message}\n  expected {meant:?} and {right:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_path_without_a_known_provider_is_refused_with_a_base_url_that_has_one() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let origin = origin_of(&keyside);
    let mut wire = keyside.wire();
    let mut wrong = Vec::new();
    for (request, right) in NO_PROVIDER {
        let answer = wire.ask(&ask(&origin, request));
        expect::refused(request, &answer, 400, "provider_unknown");
        let message = message_of(&answer);
        let bases = bases(&message, &origin);
        if !right.iter().any(|right| bases.contains(right)) {
            wrong.push(format!("{request}: {message}\n  expected one of {right:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_misspelt_provider_is_named_with_the_one_that_is_meant() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    let origin = origin_of(&keyside);
    for (request, meant) in [
        (
            "GET /opnai/v1/models",
            r#"There is no provider "opnai"; did you mean openai?"#,
        ),
        (
            "POST /v1/chat/completions",
            "Did you mean POST /openai/v1/chat/completions?",
        ),
    ] {
        let answer = keyside.ask(&ask(&origin, request));
        expect::refused(request, &answer, 400, "provider_unknown");
        let message = message_of(&answer);
        assert!(message.contains(meant), "{request}: {message}");
    }
}

#[test]
fn a_workspace_without_w_before_it_is_refused_with_the_right_base_url() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let origin = origin_of(&keyside);
    let request = "POST /acme/openai/v1/chat/completions";
    let ask = ask(&origin, request).without("X-Keyside-Workspace");
    let answer = keyside.ask(&ask);
    expect::refused(request, &answer, 400, "workspace_missing");
    let message = message_of(&answer);
    assert!(
        bases(&message, &origin).contains(&"/w/acme/openai/v1"),
        "{message}"
    );
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_path_that_is_written_differently_is_served_or_refused_with_the_right_one() {
    let upstream = Upstream::ok();
    let builder = ["openai", "anthropic", "gemini"]
        .iter()
        .fold(Keyside::builder(), |builder, provider| {
            builder.provider(provider, &upstream.base_url())
        });
    let keyside = builder.start().with_key();
    for (provider, secret) in [
        ("anthropic", "sk-ant-api03-BaseUrlsOnly0123456789abcdefghij"),
        ("gemini", "AIzaBaseUrlsOnly0123456789abcdefghijklm"),
    ] {
        keyside.add_key("acme", provider, "default", secret);
    }
    let origin = origin_of(&keyside);
    for either in EITHER {
        let before = upstream.requests().len();
        let answer = keyside.ask(&ask(&origin, either.request));
        let requests = upstream.requests();
        let seen: Vec<_> = requests[before..]
            .iter()
            .map(|seen| seen.target())
            .collect();
        if answer.status() == 200 {
            assert_eq!(seen, [either.path], "{}", either.request);
            continue;
        }
        assert!(seen.is_empty(), "{}: {seen:?}", either.request);
        expect::refused(either.request, &answer, 403, "path_not_allowed");
        let message = message_of(&answer);
        let route = format!("Did you mean POST {}?", either.path);
        assert!(
            message.contains(&route) || bases(&message, &origin).contains(&either.base),
            "{}: {message}",
            either.request
        );
    }
}

#[test]
fn the_base_url_has_the_host_that_the_request_has() {
    let keyside = Keyside::builder()
        .set("proxy.hosts", r#"["keyside.internal"]"#)
        .start();
    keyside.workspace("acme");
    let port = keyside.proxy_addr().port();
    for host in [
        format!("localhost:{port}"),
        format!("keyside.internal:{port}"),
        "keyside.internal".to_owned(),
        format!("[::1]:{port}"),
    ] {
        let origin = format!("http://{host}");
        let asked = ask(&origin, "POST /w/acme/anthropic/messages");
        let message = message_of(&keyside.ask(&asked));
        let base = "/w/acme/anthropic/v1";
        assert!(
            sets(&message, "ANTHROPIC_BASE_URL", &origin, base),
            "{message}"
        );
        let over_h2c = H2c::connect(keyside.proxy_addr()).ask(&asked);
        assert_eq!(message_of(&over_h2c), message, "over HTTP/2");
    }
}

#[test]
fn a_wrong_method_is_refused_with_the_right_one() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let origin = origin_of(&keyside);
    for (request, right) in [
        ("GET /openai/v1/chat/completions", "POST"),
        ("PUT /openai/v1/responses", "POST"),
        ("GET /anthropic/v1/messages", "POST"),
        ("POST /openai/v1/models", "GET"),
        ("GET /cohere/v2/chat", "POST"),
    ] {
        let answer = keyside.ask(&ask(&origin, request));
        expect::refused(request, &answer, 403, "path_not_allowed");
        let message = message_of(&answer);
        let mut words = message.split(|c: char| !c.is_ascii_alphanumeric());
        assert!(words.any(|word| word == right), "{request}: {message}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_route_that_stores_is_refused_with_the_setting_that_allows_it() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let origin = origin_of(&keyside);
    let request = "POST /openai/v1/files";
    let answer = keyside.ask(&ask(&origin, request));
    expect::refused(request, &answer, 403, "path_not_allowed");
    let message = message_of(&answer);
    for words in [r#"allow = ["inference", "stored"]"#, "[providers.openai]"] {
        assert!(message.contains(words), "no {words} in {message}");
    }
    let administers = keyside.ask(&ask(&origin, "POST /openai/v1/organization/admin_api_keys"));
    let message = message_of(&administers);
    assert!(
        !message.contains("allow ="),
        "no setting allows administration: {message}"
    );
    assert_eq!(upstream.connections(), 0);
}
