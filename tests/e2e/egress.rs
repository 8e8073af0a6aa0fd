//! Upstreams behind an egress proxy, which forwards bytes and sees neither keys nor requests.

mod refusing;
mod settings;

use crate::harness::egress::EgressProxy;
use crate::harness::tls::{Authority, Identity, VALID};
use crate::harness::{
    Ask, Builder, CREDENTIALS, Ending, KEY, Keyside, Then, Upstream, chunk_of, chunked_head,
    expect, holds, reply,
};
use std::fs;
use std::path::Path;

/// A name that only the proxies know, so a response proves that they resolved it.
const HOST: &str = "upstream.test";

/// A provider behind TLS that answers everything.
fn answering(identity: &Identity) -> Upstream {
    identity.upstream(|_, line| {
        line.write(reply(200, "Content-Type: application/json\r\n", b"{}"));
        Then::Keep
    })
}

/// Settings with OpenAI at [`HOST`] on this upstream, and `authority` in `egress.ca_file`.
fn trusting(authority: &Authority, upstream: &Upstream) -> Builder {
    let builder = Keyside::builder().provider("openai", &upstream.url_for(HOST));
    let file = authority.file_in(builder.home());
    builder.set("egress.ca_file", &quoted(&file))
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_str().expect("a plain path"))
}

/// Checks that a proxy was asked for the upstream, and could read none of the forwarded bytes.
fn check_passed(name: &str, proxy: &EgressProxy, upstream: &Upstream) {
    let target = format!("{HOST}:{}", upstream.address().port());
    let targets = proxy.targets();
    assert!(!targets.is_empty(), "{name}: nobody came by");
    assert!(
        targets.iter().all(|one| *one == target),
        "{name}: {targets:?}"
    );
    assert!(holds(&upstream.bytes(), KEY), "{name}: no key arrived");
    let seen = proxy.bytes();
    for part in [KEY, "POST", "/v1/"] {
        assert!(!holds(&seen, part), "{name}: it saw {part}");
    }
}

#[test]
fn a_request_passes_each_kind_of_proxy_which_sees_no_key_and_alone_resolves_the_name() {
    let authority = Authority::new();
    let upstream = answering(&authority.issue(&[HOST], VALID));
    let own = authority.issue(&["127.0.0.1"], VALID);
    for proxy in [
        EgressProxy::http(&upstream),
        EgressProxy::https(&upstream, &own),
        EgressProxy::socks5(&upstream, None),
    ] {
        let url = proxy.url();
        let builder = trusting(&authority, &upstream).set("egress.proxy", &format!("{url:?}"));
        let keyside = builder.start().with_key();
        for _ in 0..2 {
            let answer = keyside.ask(&Ask::chat());
            assert_eq!(answer.status(), 200, "{url}: {}", answer.text());
        }
        assert_eq!(proxy.connections(), 1, "{url}: the connection was not kept");
        check_passed(&url, &proxy, &upstream);
        let said = keyside.log_line(|line| line["fields"]["message"] == "egress");
        assert_eq!(said["fields"]["via"], url, "{said}");
    }
}

#[test]
fn a_proxy_gets_the_user_and_password_that_are_for_it_and_nobody_else_sees_them() {
    const PASSWORD: &str = "canary-egress-password-41c7";
    const BASIC: &str = "Basic bWU6Y2FuYXJ5LWVncmVzcy1wYXNzd29yZC00MWM3";
    let authority = Authority::new();
    let upstream = answering(&authority.issue(&[HOST], VALID));
    for proxy in [
        EgressProxy::http_for(&upstream, Some(BASIC)),
        EgressProxy::socks5(&upstream, Some(("me", PASSWORD))),
    ] {
        let url = proxy.url();
        let by_file = trusting(&authority, &upstream).set("egress.proxy", &format!("{url:?}"));
        let file = by_file.home().join("proxy-password");
        fs::write(&file, format!("me:{PASSWORD}\n")).expect("a writable folder");
        let by_file = by_file.set("egress.credentials_file", &quoted(&file));
        // Escaped, as a URL may have it.
        let escaped = proxy.url_with(&format!("me:{}", PASSWORD.replace('-', "%2D")));
        let by_variable = trusting(&authority, &upstream).variable("HTTPS_PROXY", &escaped);
        for builder in [by_file, by_variable] {
            let checked = builder.run(&["check"], b"");
            assert_eq!(checked.code, Some(0), "{checked:#?}");
            assert!(checked.stdout.contains("with a password"), "{checked:#?}");
            let keyside = builder.start().with_key();
            let answer = keyside.ask(&Ask::chat());
            assert_eq!(answer.status(), 200, "{url}: {}", answer.text());
            check_passed(&url, &proxy, &upstream);
            let said = [keyside.logs(), checked.stdout, checked.stderr].concat();
            for secret in [PASSWORD, &escaped, BASIC] {
                assert!(!said.contains(secret), "{said}");
                assert!(!holds(&upstream.bytes(), secret), "{secret} went on");
            }
        }
    }
}

#[test]
fn a_live_check_takes_the_same_route() {
    let authority = Authority::new();
    let upstream = answering(&authority.issue(&[HOST], VALID));
    let proxy = EgressProxy::http(&upstream);
    let builder = trusting(&authority, &upstream).variable("HTTPS_PROXY", &proxy.url());
    let keyside = builder.start();
    keyside.workspace("acme");
    let added = keyside.add_key("acme", "openai", "default", KEY);
    let id = added["id"].as_str().expect("an id");
    let verified = keyside.admin("POST", &format!("{CREDENTIALS}/{id}/verify"), None);
    assert_eq!(verified.status(), 200, "{}", verified.text());
    assert!(verified.text().contains("accepted"), "{}", verified.text());
    check_passed("verify", &proxy, &upstream);
}

#[test]
fn a_proxy_that_dies_in_the_middle_of_a_stream_cuts_the_answer_and_nothing_is_sent_again() {
    let authority = Authority::new();
    let identity = authority.issue(&[HOST], VALID);
    let upstream = identity.upstream(|_, line| {
        line.write(chunked_head("Content-Type: text/event-stream\r\n"));
        line.write(chunk_of(b"data: one\n\n"));
        // Until the proxy is gone.
        let _ = line.peek();
        Then::Close
    });
    let proxy = EgressProxy::http(&upstream);
    let builder = trusting(&authority, &upstream).variable("ALL_PROXY", &proxy.url());
    let keyside = builder.start().with_key();
    let mut wire = keyside.wire();
    wire.send(Ask::chat().bytes());
    assert_eq!(wire.head().expect("an answer").status(), 200);
    wire.body_until("data: one\n\n");
    proxy.cut();
    while wire.piece().is_some() {}
    assert_eq!(wire.ending(), Ending::Cut);
    upstream.only();
}

#[test]
fn loopback_and_plain_http_never_use_a_proxy() {
    let authority = Authority::new();
    let secured = answering(&authority.issue(&["localhost", "127.0.0.1"], VALID));
    let plain = Upstream::ok();
    let proxy = EgressProxy::http(&plain);
    for base_url in [
        plain.base_url(),
        secured.base_url(),
        secured.url_for("localhost"),
    ] {
        // The file applies to this route, too.
        let builder = trusting(&authority, &plain)
            .provider("openai", &base_url)
            .variable("HTTPS_PROXY", &proxy.url())
            .variable("HTTP_PROXY", &proxy.url())
            .variable("ALL_PROXY", &proxy.url());
        let answer = builder.start().with_key().ask(&Ask::chat());
        assert_eq!(answer.status(), 200, "{base_url}: {}", answer.text());
    }
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn no_proxy_is_asked_for_a_metadata_service_under_any_spelling() {
    let upstream = Upstream::ok();
    let proxy = EgressProxy::http(&upstream);
    let through = || Keyside::builder().set("egress.proxy", &format!("{:?}", proxy.url()));
    for host in [
        "2852039166",
        "0xa9fea9fe",
        "169.254.43518",
        "0251.0376.0251.0376",
    ] {
        let builder = through().provider("openai", &format!("https://{host}"));
        let keyside = builder.start().with_key();
        let answer = keyside.ask(&Ask::chat());
        expect::refused(host, &answer, 502, "upstream_unreachable");
    }
    for host in ["metadata.google.internal", "METADATA", "169.254.169.254"] {
        let builder = through().provider("openai", &format!("https://{host}"));
        let exit = builder.run(&["check"], b"");
        assert_eq!(exit.code, Some(78), "{host}: {exit:#?}");
        assert!(
            exit.stderr.contains("metadata service"),
            "{host}: {exit:#?}"
        );
    }
    for url in ["http://metadata.google.internal:80", "socks5://metadata"] {
        let builder = Keyside::builder().set("egress.proxy", &format!("{url:?}"));
        let exit = builder.run(&["check"], b"");
        assert_eq!(exit.code, Some(78), "{url}: {exit:#?}");
        assert!(exit.stderr.contains("metadata service"), "{url}: {exit:#?}");
    }
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn a_provider_s_own_egress_setting_is_used() {
    let authority = Authority::new();
    let upstream = answering(&authority.issue(&[HOST], VALID));
    for (usual, own) in [("direct", "environment"), ("direct", "url"), ("url", "url")] {
        let (first, second) = (
            EgressProxy::http(&upstream),
            EgressProxy::socks5(&upstream, None),
        );
        let named = |way: &str, proxy: &EgressProxy| match way {
            "url" => format!("{:?}", proxy.url()),
            word => format!("{word:?}"),
        };
        let builder = trusting(&authority, &upstream)
            .set("egress.proxy", &named(usual, &first))
            .set("providers.openai.egress", &named(own, &second))
            .variable("HTTPS_PROXY", &second.url());
        let answer = builder.start().with_key().ask(&Ask::chat());
        assert_eq!(answer.status(), 200, "{usual} {own}: {}", answer.text());
        assert_eq!(first.connections(), 0, "{usual} {own}");
        check_passed(own, &second, &upstream);
    }
}

#[test]
fn exempt_hosts_never_use_the_proxy() {
    let authority = Authority::new();
    let upstream = answering(&authority.issue(&[HOST], VALID));
    let proxy = EgressProxy::http(&upstream);
    let through = || {
        let builder = trusting(&authority, &upstream).variable("HTTPS_PROXY", &proxy.url());
        // Whether the name is found to be unknown, or nobody can be asked.
        builder.set("proxy.deadlines.connect", r#""1s""#)
    };
    for builder in [
        through().variable("NO_PROXY", "other.example, .test"),
        through().variable("no_proxy", HOST),
        through().variable("NO_PROXY", "*"),
        through().set("providers.openai.egress", r#""direct""#),
        through().set("egress.proxy", r#""direct""#),
    ] {
        let answer = builder.start().with_key().ask(&Ask::chat());
        assert!([502, 504].contains(&answer.status()), "{}", answer.text());
        assert!(!answer.text().contains("egress proxy"), "{}", answer.text());
    }
    assert_eq!(proxy.connections(), 0);
    assert_eq!(upstream.connections(), 0);
    // It would have passed.
    let builder = through()
        .unset("proxy.deadlines.connect")
        .variable("NO_PROXY", "other.test");
    let answer = builder.start().with_key().ask(&Ask::chat());
    assert_eq!(answer.status(), 200, "{}", answer.text());
}

#[test]
fn a_proxy_that_inspects_tls_gets_no_key_unless_its_authority_is_named() {
    let (inspector, other) = (Authority::new(), Authority::new());
    // As with a proxy that terminates TLS: another certificate for the same name.
    let upstream = answering(&inspector.issue(&[HOST], VALID));
    let proxy = EgressProxy::http(&upstream);
    // Where companies put it: among the system's authorities.
    let behind = |trusted: &Authority| {
        let builder = trusting(trusted, &upstream).variable("HTTPS_PROXY", &proxy.url());
        let system = builder.home().join("system");
        fs::create_dir_all(&system).expect("a writable folder");
        let file = inspector.file_in(&system);
        builder.variable("SSL_CERT_FILE", file.to_str().expect("a plain path"))
    };
    let keyside = behind(&other).start().with_key();
    let answer = keyside.ask(&Ask::chat());
    expect::refused("inspected", &answer, 502, "upstream_tls");
    let name = proxy.name();
    for part in [name.as_str(), "egress.ca_file", "egress.roots"] {
        assert!(
            answer.text().contains(part),
            "no {part} in {}",
            answer.text()
        );
    }
    assert!(upstream.bytes().is_empty(), "{:?}", upstream.bytes());

    for builder in [
        behind(&inspector),
        behind(&other).set("egress.roots", r#""system""#),
    ] {
        let answer = builder.start().with_key().ask(&Ask::chat());
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
}
