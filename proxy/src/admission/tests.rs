use http::Request;

use super::*;

fn hosts(further: &[&str]) -> AllowedHosts {
    let further = further.iter().map(|host| host.to_string());
    AllowedHosts::new(([0, 0, 0, 0], 7380).into(), further)
}

fn policy(workspaces: &[&str], unix: bool) -> ListenerPolicy {
    ListenerPolicy {
        hosts: (!unix).then(|| hosts(&[])),
        workspaces: workspaces.iter().map(|name| name.to_string()).collect(),
        environment: EnvironmentPin::Any,
        tag_headers: vec![
            "x-keyside-workspace".parse().unwrap(),
            "x-tenant".parse().unwrap(),
        ],
    }
}

fn head(target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn listener(workspaces: &[&str], environment: EnvironmentPin) -> Listener {
    Listener {
        address: ListenAddress::Tcp(([127, 0, 0, 1], 7380).into()),
        workspaces: workspaces.iter().map(|name| name.to_string()).collect(),
        environment,
        peer_uids: Vec::new(),
    }
}

#[test]
fn what_no_listener_may_use_this_process_may_not_either() {
    use EnvironmentPin::{Any, Live, Sandbox};
    let environments: [(&[EnvironmentPin], EnvironmentPin); 6] = [
        (&[Sandbox], Sandbox),
        (&[Sandbox, Sandbox], Sandbox),
        (&[Live, Live], Live),
        (&[Sandbox, Live], Any),
        (&[Any, Sandbox], Any),
        (&[], Any),
    ];
    for (pins, expected) in environments {
        let listeners: Vec<_> = pins.iter().map(|pin| listener(&[], *pin)).collect();
        assert_eq!(environment_of_all(&listeners), expected, "{pins:?}");
    }
    let workspaces: [(&[&[&str]], &[&str]); 4] = [
        (&[&["ci"]], &["ci"]),
        (&[&["ci", "acme"], &["ci"]], &["acme", "ci"]),
        (&[&["ci"], &[]], &[]),
        (&[], &[]),
    ];
    for (pins, expected) in workspaces {
        let listeners: Vec<_> = pins.iter().map(|names| listener(names, Any)).collect();
        assert_eq!(workspaces_of_all(&listeners), expected, "{pins:?}");
    }
}

#[test]
fn only_the_listeners_names_are_accepted_as_host() {
    let malformed = Refusal::RequestMalformed("has a Host header that is not well-formed");
    for (host, expected) in [
        ("127.0.0.1:7380", Ok(())),
        ("LOCALHOST", Ok(())),
        ("[::1]:80", Ok(())),
        ("evil.example", Err(Refusal::HostNotAllowed)),
        ("0.0.0.0", Err(Refusal::HostNotAllowed)),
        ("user@localhost", Err(malformed)),
        ("", Err(malformed)),
    ] {
        assert_eq!(
            policy(&[], false).recognise(&head("/", &[("host", host)])),
            expected,
            "{host}"
        );
    }
}

#[test]
fn a_unix_socket_accepts_any_host_but_requires_one() {
    let policy = policy(&[], true);
    assert_eq!(
        policy.recognise(&head("/", &[("host", "anything.example")])),
        Ok(())
    );
    assert!(policy.recognise(&head("/", &[])).is_err());
    assert!(
        policy
            .recognise(&head("/", &[("host", "a"), ("host", "a")]))
            .is_err()
    );
}

#[test]
fn a_browser_is_recognised_by_headers_that_only_browsers_send() {
    for field in [
        ("origin", "null"),
        ("origin", "http://127.0.0.1:7380"),
        ("sec-fetch-site", "none"),
        ("sec-fetch-dest", "image"),
        ("sec-fetch-user", "?1"),
        ("sec-ch-ua", "\"Chromium\";v=\"140\""),
        ("upgrade-insecure-requests", "1"),
        ("access-control-request-method", "GET"),
    ] {
        let head = head("/", &[("host", "localhost"), field]);
        assert_eq!(
            policy(&[], false).recognise(&head),
            Err(Refusal::BrowserNotAllowed),
            "{field:?}"
        );
    }
}

#[test]
fn under_a_name_that_is_not_loopback_a_get_must_exclude_a_page() {
    let mut policy = policy(&[], false);
    let names = ["keyside.internal", "10.1.2.3", "[fd12::1]", "127.0.0.2"];
    policy.hosts = Some(hosts(&names));
    let ask = |method: Method, host: &str, field: (&str, &str)| {
        let mut head = head("/openai/v1/models", &[("host", host), field]);
        head.method = method;
        policy.recognise(&head)
    };
    let plain = ("accept", "*/*");
    for host in [
        "keyside.internal",
        "KEYSIDE.internal:80",
        "10.1.2.3",
        "[fd12::1]:80",
    ] {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            let refused = Err(Refusal::BrowserNotExcluded);
            assert_eq!(ask(method.clone(), host, plain), refused, "{method} {host}");
            for simple in [
                "accept-language",
                "content-type",
                "range",
                "user-agent",
                "cookie",
                "x-tenant",
            ] {
                let answer = ask(method.clone(), host, (simple, "1"));
                assert_eq!(answer, refused, "{method} {host} {simple}");
            }
            for named in [
                "authorization",
                "x-api-key",
                "api-key",
                "x-goog-api-key",
                "x-keyside-workspace",
            ] {
                let answer = ask(method.clone(), host, (named, "dummy"));
                assert_eq!(answer, Ok(()), "{method} {host} {named}");
            }
        }
        assert_eq!(ask(Method::POST, host, plain), Ok(()), "{host}");
    }
    for host in [
        "localhost",
        "LocalHost:7380",
        "127.0.0.1",
        "[::1]",
        "127.0.0.2",
    ] {
        assert_eq!(ask(Method::GET, host, plain), Ok(()), "{host}");
    }
}

#[test]
fn a_name_with_a_dot_at_its_end_is_another_name() {
    for host in ["localhost.", "127.0.0.1.", "localhost.:7380"] {
        let head = head("/", &[("host", host)]);
        let refused = Err(Refusal::HostNotAllowed);
        assert_eq!(policy(&[], false).recognise(&head), refused, "{host}");
    }
}

#[test]
fn on_a_unix_socket_no_page_has_to_be_excluded() {
    let head = head("/openai/v1/models", &[("host", "keyside")]);
    assert_eq!(policy(&[], true).recognise(&head), Ok(()));
}

#[test]
fn only_a_plain_path_is_a_target() {
    let malformed = |target: &str| {
        let head = head(target, &[("host", "localhost")]);
        matches!(
            policy(&[], false).recognise(&head),
            Err(Refusal::RequestMalformed(_))
        )
    };
    assert!(malformed("http://localhost/openai/v1/models"));
    assert!(malformed("http://evil.example/"));
    assert!(malformed("*"));
    assert!(!malformed("/openai/v1/models?a=1"));
    let with_many = |begin: &str, repeated: &str| {
        format!("/openai/v1/models?{begin}{}", repeated.repeat(5_000))
    };
    assert!(malformed(&with_many("", ";")));
    assert!(!malformed(&with_many("a=", "%3B")));
}

#[test]
fn the_workspace_comes_from_header_path_or_listener_and_from_one_only() {
    type Case<'a> = (
        &'a [&'a str],
        Option<&'a str>,
        &'a [(&'a str, &'a str)],
        Result<&'a str, Refusal>,
    );
    let cases: &[Case<'_>] = &[
        (&[], None, &[("x-keyside-workspace", "acme")], Ok("acme")),
        (&[], None, &[("x-tenant", "acme")], Ok("acme")),
        (&[], Some("acme"), &[], Ok("acme")),
        (
            &[],
            Some("acme"),
            &[("x-keyside-workspace", "acme")],
            Ok("acme"),
        ),
        (
            &[],
            Some("acme"),
            &[("x-keyside-workspace", "other")],
            Err(AMBIGUOUS_WORKSPACE),
        ),
        (
            &[],
            None,
            &[("x-keyside-workspace", "a"), ("x-tenant", "b")],
            Err(AMBIGUOUS_WORKSPACE),
        ),
        (&[], None, &[], Err(Refusal::WorkspaceMissing)),
        (
            &["acme"],
            None,
            &[("x-keyside-workspace", "")],
            Err(Refusal::WorkspaceMissing),
        ),
        (&["acme"], None, &[], Ok("acme")),
        (&["acme", "ci"], None, &[], Err(Refusal::WorkspaceMissing)),
        (
            &["acme"],
            Some("other"),
            &[],
            Err(Refusal::WorkspaceNotAllowed),
        ),
    ];
    for (pinned, path, fields, expected) in cases {
        let head = head("/", fields);
        let policy = policy(pinned, false);
        let admitted = policy
            .admit(&head.headers, *path)
            .map(|admitted| admitted.workspace);
        assert_eq!(admitted, *expected, "{pinned:?} {path:?} {fields:?}");
    }
}

#[test]
fn a_keyside_header_may_occur_once_and_must_be_readable() {
    for fields in [
        &[("x-keyside-workspace", "a"), ("x-keyside-workspace", "a")][..],
        &[("x-keyside-workspace", "caf\u{e9}")],
        &[
            ("x-keyside-workspace", "a"),
            ("x-keyside-environment", "prod"),
        ],
        &[("x-keyside-workspace", "a"), ("x-keyside-label", "%ff")],
    ] {
        let head = head("/", fields);
        let policy = policy(&[], false);
        let refused = policy.admit(&head.headers, None).unwrap_err();
        assert!(
            matches!(refused, Refusal::RequestMalformed(_)),
            "{fields:?}"
        );
    }
}

#[test]
fn a_label_may_be_percent_encoded() {
    let head = head("/", &[("x-keyside-label", "QA%20caf%C3%A9")]);
    let policy = policy(&["a"], false);
    assert_eq!(
        policy.admit(&head.headers, None).unwrap().label.unwrap(),
        "QA caf\u{e9}"
    );
}
