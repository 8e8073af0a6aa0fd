//! The forwarded path is the path that was checked, and no path escapes the policy.

use crate::harness::{Ask, KEY, Keyside, Upstream, expect};

/// Requests each target. `None`: it must be refused, and nothing may be forwarded. `Some`: it may
/// be refused, or forwarded exactly as this.
fn check(cases: &[(&str, &str, Option<&str>)]) {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    keyside.workspace("other");
    keyside.add_key(
        "acme",
        "anthropic",
        "default",
        "sk-ant-api03-not-to-be-seen-anywhere",
    );
    for (name, target, forwarded) in cases {
        let before = upstream.requests().len();
        let answer = keyside.ask(&Ask::get(target));
        expect::keyless(name, &answer);
        let requests = upstream.requests();
        if answer.status() == 200 {
            let seen: Vec<_> = requests[before..]
                .iter()
                .map(|seen| seen.target())
                .collect();
            assert_eq!(seen, forwarded.as_slice(), "{name}");
        } else {
            assert!(
                [400, 403].contains(&answer.status()),
                "{name}: {}",
                answer.text()
            );
            assert_eq!(requests.len(), before, "{name}: refused, yet forwarded");
        }
    }
    let plain = keyside.ask(&Ask::get("/openai/v1/models/gpt-5"));
    assert_eq!(
        plain.status(),
        200,
        "and the plain path is served: {}",
        plain.text()
    );
    let last = upstream.requests().pop().expect("the plain request");
    assert_eq!(last.target(), "/v1/models/gpt-5");
    assert_eq!(
        last.headers_named("authorization"),
        [format!("Bearer {KEY}")]
    );
}

#[test]
fn dots_do_not_climb_out_of_the_policy() {
    check(&[
        ("dots", "/openai/v1/models/../organization/users", None),
        (
            "dots to the top",
            "/openai/v1/models/../../v1/organization/users",
            None,
        ),
        (
            "more dots than segments",
            "/openai/../../../../v1/organization/users",
            None,
        ),
        ("dots at the end", "/openai/v1/chat/..", None),
        ("dots with a query", "/openai/v1/models/..?a=1", None),
        (
            "escaped dots",
            "/openai/v1/models/%2e%2e/organization/users",
            None,
        ),
        (
            "escaped dots in capitals",
            "/openai/v1/models/%2E%2E/organization/users",
            None,
        ),
        (
            "one escaped dot",
            "/openai/v1/models/.%2e/organization/users",
            None,
        ),
        (
            "dots and an escaped slash",
            "/openai/v1/models/..%2forganization%2fusers",
            None,
        ),
        (
            "all escaped",
            "/openai/v1/models/%2e%2e%2forganization",
            None,
        ),
        (
            "twice escaped",
            "/openai/v1/models/%252e%252e%252forganization",
            None,
        ),
        (
            "overlong",
            "/openai/v1/models/%c0%ae%c0%ae/organization",
            None,
        ),
        (
            "dots and a parameter",
            "/openai/v1/models/..;/organization/users",
            None,
        ),
        (
            "dots and a parameter of a name",
            "/openai/v1/models/..;a=b/organization",
            None,
        ),
        (
            "dots inside a parameter",
            "/openai/v1/models/x;/../../organization",
            None,
        ),
        ("a single dot", "/openai/v1/./models", Some("/v1/models")),
        (
            "an escaped single dot",
            "/openai/v1/%2e/models",
            Some("/v1/models"),
        ),
        (
            "dots that stay inside",
            "/openai/v1/models/x/../y",
            Some("/v1/models/y"),
        ),
        (
            "three dots are a name",
            "/openai/v1/models/...",
            Some("/v1/models/..."),
        ),
    ]);
}

#[test]
fn slashes_and_backslashes_do_not_climb_out_of_the_policy() {
    check(&[
        ("an empty segment", "/openai/v1//organization/users", None),
        (
            "an empty segment in an allowed path",
            "/openai/v1//models",
            Some("/v1/models"),
        ),
        (
            "two slashes in front",
            "//openai/v1/models",
            Some("/v1/models"),
        ),
        (
            "two slashes after the provider",
            "/openai//v1/models",
            Some("/v1/models"),
        ),
        (
            "a slash at the end",
            "/openai/v1/models/",
            Some("/v1/models/"),
        ),
        (
            "an escaped slash in a name",
            "/openai/v1/models/a%2fb",
            Some("/v1/models/a%2fb"),
        ),
        (
            "an escaped slash in capitals",
            "/openai/v1/models/a%2Fb",
            Some("/v1/models/a%2Fb"),
        ),
        ("a backslash", "/openai/v1/models\\..\\organization", None),
        ("a backslash in a name", "/openai/v1/models/a\\b", None),
        (
            "an escaped backslash",
            "/openai/v1/models/..%5corganization",
            None,
        ),
        (
            "an escaped backslash in a name",
            "/openai/v1/models/a%5Cb",
            None,
        ),
    ]);
}

#[test]
fn a_path_does_not_reach_another_provider_or_workspace() {
    check(&[
        ("another provider", "/openai/../anthropic/v1/messages", None),
        (
            "another provider, escaped",
            "/openai/%2e%2e/anthropic/v1/messages",
            None,
        ),
        (
            "another provider with a slash",
            "/openai%2f..%2fanthropic/v1/messages",
            None,
        ),
        (
            "another workspace",
            "/w/acme/../other/openai/v1/models",
            None,
        ),
        (
            "another workspace from behind",
            "/w/acme/openai/../../other/openai/v1/models",
            None,
        ),
        (
            "another workspace, escaped",
            "/w/other%2f..%2facme/openai/v1/models",
            None,
        ),
        (
            "another workspace than the header's",
            "/w/other/openai/v1/models",
            None,
        ),
        (
            "an escaped provider",
            "/%6fpenai/v1/models",
            Some("/v1/models"),
        ),
        (
            "a provider in capitals",
            "/OpenAI/v1/models",
            Some("/v1/models"),
        ),
        ("no provider", "/", None),
        ("no rest", "/openai", None),
        ("no rest but a slash", "/openai/", None),
        ("no provider after the workspace", "/w/acme", None),
        ("the admin API", "/api/integrations/credentials", None),
        ("the metrics", "/metrics", None),
    ]);
}

#[test]
fn control_and_other_odd_characters_are_refused() {
    check(&[
        ("an escaped NUL", "/openai/v1/models/a%00b", None),
        (
            "an escaped CR LF",
            "/openai/v1/models/a%0d%0aX-Injected:%201",
            None,
        ),
        ("an escaped tab", "/openai/v1/models/a%09b", None),
        ("an escaped DEL", "/openai/v1/models/a%7fb", None),
        ("a broken escape", "/openai/v1/models/a%zz", None),
        ("half an escape", "/openai/v1/models/a%2", None),
        ("UTF-8 unescaped", "/openai/v1/models/\u{e9}", None),
        ("a fragment", "/openai/v1/organization#/v1/models", None),
        (
            "an escaped question mark",
            "/openai/v1/models%3f/../organization",
            None,
        ),
        (
            "dots and an escaped question mark",
            "/openai/v1/models/..%3f",
            None,
        ),
        ("dots and an escaped #", "/openai/v1/models/..%23", None),
        (
            "a fragment after an allowed path",
            "/openai/v1/models#x",
            Some("/v1/models"),
        ),
        (
            "an escaped colon in a name",
            "/openai/v1/models/ft%3agpt",
            Some("/v1/models/ft%3Agpt"),
        ),
        (
            "an escape of a plain letter",
            "/openai/%76%31/models",
            Some("/v1/models"),
        ),
        (
            "a query that climbs",
            "/openai/v1/models?a=/../x",
            Some("/v1/models?a=/../x"),
        ),
    ]);
}

#[test]
fn key_and_organisation_management_is_refused() {
    check(&[
        (
            "organisation keys",
            "/openai/v1/organization/admin_api_keys",
            None,
        ),
        ("organisation users", "/openai/v1/organization/users", None),
        (
            "project keys",
            "/openai/v1/organization/projects/p/api_keys",
            None,
        ),
        ("costs", "/openai/v1/organization/costs", None),
        (
            "the dashboard",
            "/openai/dashboard/billing/subscription",
            None,
        ),
        (
            "Anthropic's keys",
            "/anthropic/v1/organizations/api_keys",
            None,
        ),
        (
            "Anthropic's members",
            "/anthropic/v1/organizations/users",
            None,
        ),
        ("an unknown path", "/openai/v1/nothing", None),
    ]);
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    for method in [
        "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "PROPFIND", "get", "G\u{a9}T",
    ] {
        let answer =
            keyside.ask(&Ask::new(method, "/openai/v1/chat/completions").workspace("acme"));
        let status = answer.status();
        assert!([400, 403].contains(&status), "{method}: {}", answer.text());
    }
    assert_eq!(upstream.connections(), 0);
}
