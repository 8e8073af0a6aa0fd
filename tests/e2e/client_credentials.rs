//! Exactly one credential leaves: ours, wherever the client put one of its own.

mod subprotocols;

use crate::harness::{Ask, Builder, CHAT, KEY, Keyside, Upstream, holds};

/// A provider, a request that its catalogue entry allows, and the one header that carries the key.
type Provider = (&'static str, &'static str, &'static str, &'static str);

/// All of the catalogue.
const PROVIDERS: &[Provider] = &[
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
    (
        "groq",
        "/openai/v1/chat/completions",
        "authorization",
        "Bearer ",
    ),
    ("deepseek", "/chat/completions", "authorization", "Bearer "),
    ("xai", "/v1/chat/completions", "authorization", "Bearer "),
    (
        "openrouter",
        "/api/v1/chat/completions",
        "authorization",
        "Bearer ",
    ),
    (
        "together",
        "/v1/chat/completions",
        "authorization",
        "Bearer ",
    ),
    (
        "fireworks",
        "/v1/chat/completions",
        "authorization",
        "Bearer ",
    ),
    (
        "perplexity",
        "/chat/completions",
        "authorization",
        "Bearer ",
    ),
    ("bedrock", "/model/m/converse", "authorization", "Bearer "),
    (
        "sandbox",
        "/v1/chat/completions",
        "authorization",
        "Bearer ",
    ),
];

/// The client's own credential.
const OWN: &str = "client-own-credential-ZZ81";

/// Keyside with the same key for every provider, all of them at one upstream.
fn with_every_provider(upstream: &Upstream) -> Keyside {
    let at_upstream =
        |builder: Builder, (id, ..): &Provider| builder.provider(id, &upstream.base_url());
    let keyside = PROVIDERS
        .iter()
        .fold(Keyside::builder(), at_upstream)
        .start();
    keyside.workspace("acme");
    for (provider, ..) in PROVIDERS {
        keyside.add_key("acme", provider, "default", KEY);
    }
    keyside
}

/// Sends `ask` for each provider and checks what left: our key once, in its place, and `OWN`
/// nowhere.
fn check(name: &str, vary: impl Fn(Ask) -> Ask) {
    let upstream = Upstream::ok();
    let keyside = with_every_provider(&upstream);
    for (provider, path, header, prefix) in PROVIDERS {
        let answer = keyside.ask(&vary(Ask::post(&format!("/{provider}{path}"))));
        assert_eq!(
            answer.status(),
            200,
            "{provider}, {name}: {}",
            answer.text()
        );
        let seen = upstream.requests().pop().expect("a request");
        // Keyside adds the part of the path that this SDK expects in the base URL.
        let below = match *provider {
            "fireworks" => "/inference",
            _ => "",
        };
        assert_eq!(
            seen.target(),
            format!("{below}{path}"),
            "{provider}, {name}"
        );
        assert_eq!(
            seen.headers_named(header),
            [format!("{prefix}{KEY}")],
            "{provider}, {name}"
        );
        let raw = String::from_utf8_lossy(&seen.raw).into_owned();
        assert_eq!(raw.matches(KEY).count(), 1, "{provider}, {name}: {raw}");
        assert!(!raw.contains(OWN), "{provider}, {name}: {raw}");
    }
    assert_eq!(upstream.requests().len(), PROVIDERS.len());
}

#[test]
fn this_table_covers_the_whole_catalogue() {
    let upstream = Upstream::ok();
    let keyside = with_every_provider(&upstream);
    let listed = keyside
        .admin("GET", "/api/integrations/providers", None)
        .json();
    let items = listed
        .as_array()
        .or_else(|| listed["items"].as_array())
        .expect("a list");
    let mut listed: Vec<_> = items
        .iter()
        .filter_map(|item| item["id"].as_str())
        .collect();
    let mut known: Vec<_> = PROVIDERS.iter().map(|(id, ..)| *id).collect();
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
}

#[test]
fn a_provider_s_own_header_is_set_where_the_client_set_none() {
    let upstream = Upstream::ok();
    let keyside = with_every_provider(&upstream);
    let ask = Ask::post("/anthropic/v1/messages");
    for (ask, version) in [
        (ask.clone(), "2023-06-01"),
        (ask.header("anthropic-version", "2099-01-01"), "2099-01-01"),
    ] {
        assert_eq!(keyside.ask(&ask).status(), 200);
        let seen = upstream.requests().pop().expect("a request");
        assert_eq!(seen.headers_named("anthropic-version"), [version]);
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
fn a_credential_under_another_service_s_name_is_removed() {
    check("relatives of the providers' headers", |ask| {
        ask.header("X_Api_Key", OWN)
            .header("ApiKey", OWN)
            .header("X-Goog-Iam-Authorization-Token", OWN)
            .header("X-Goog-Iam-Authority-Selector", OWN)
            .header("X-Amz-Security-Token", OWN)
            .header("Ocp-Apim-Subscription-Key", OWN)
            .header("X-MS-Client-Principal", OWN)
            .header("X-MS-Token-AAD-Access-Token", OWN)
            .header("Helicone-Auth", format!("Bearer {OWN}"))
            .header("X-Vault-Token", OWN)
            .header("Cookie2", OWN)
    });
}

#[test]
fn other_headers_of_the_sdks_reach_the_provider() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let names = [
        "Anthropic-Beta",
        "Idempotency-Key",
        "OpenAI-Organization",
        "OpenAI-Project",
        "X-Amz-Date",
        "X-Goog-Api-Client",
        "X-Goog-FieldMask",
        "X-MS-Client-Request-Id",
        "X-Prompt-Cache-Isolation-Key",
        "X-Stainless-Helper-Method",
        "X-Stainless-Retry-Count",
        "HTTP-Referer",
    ];
    let ask = names
        .iter()
        .fold(Ask::chat(), |ask, name| ask.header(name, "kept"));
    assert_eq!(keyside.ask(&ask).status(), 200);
    let seen = upstream.only();
    for name in names {
        assert_eq!(seen.headers_named(name), ["kept"], "{name}");
    }
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
fn a_credential_in_the_query_is_removed_and_the_rest_stays() {
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
        ("of Google's system", format!("?a=1&$key={OWN}"), "?a=1"),
        (
            "of Google's system, escaped",
            format!("?a=1&%24key={OWN}"),
            "?a=1",
        ),
        ("escaped twice", format!("?a=1&%256Bey={OWN}"), "?a=1"),
        ("behind a semicolon", format!("?a=1;key={OWN}"), "?a=1"),
        (
            "between semicolons",
            format!("?a=1;key={OWN};b=2"),
            "?a=1;b=2",
        ),
        (
            "with a semicolon in it",
            format!("?key=x;{OWN}&a=1"),
            "?a=1",
        ),
        (
            "as a list",
            format!("?key[]={OWN}&key%5B0%5D={OWN}&a=1"),
            "?a=1",
        ),
        (
            "with a blank",
            format!("?+key={OWN}&key%20={OWN}&a=1"),
            "?a=1",
        ),
        (
            "with a NUL",
            format!("?key%00={OWN}&key%00x={OWN}&a=1"),
            "?a=1",
        ),
        ("without a value", "?key&key=&a=1".to_owned(), "?a=1"),
        (
            "in other spellings",
            format!("?apiKey={OWN}&api_key={OWN}&API.KEY={OWN}&subscription-key={OWN}&a=1"),
            "?a=1",
        ),
        (
            "as other tokens",
            format!("?token={OWN}&id_token={OWN}&bearer_token={OWN}&auth={OWN}&a=1"),
            "?a=1",
        ),
        (
            "as a signature",
            format!("?X-Amz-Credential={OWN}&X-Amz-Signature={OWN}&X-Amz-Security-Token={OWN}&a=1"),
            "?a=1",
        ),
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
        "?a=x;charset=utf-8&b=1;2",
        "?$alt=json;enum-encoding=int&$fields=models(name)",
        "?pageToken=abc&pageSize=2&include[]=x",
    ];
    for (index, query) in queries.iter().enumerate() {
        let answer = keyside.ask(&Ask::post(&format!("{CHAT}{query}")));
        assert_eq!(answer.status(), 200, "{query}: {}", answer.text());
        let target = upstream.wait_for(index + 1)[index].target().to_owned();
        assert_eq!(target, format!("/v1/chat/completions{query}"));
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
        "X_Api_Key",
        "X-Goog-Iam-Authorization-Token",
        "Sec-WebSocket-Protocol",
        "X-HTTP-Method-Override",
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
