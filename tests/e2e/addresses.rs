//! Names of upstreams that resolve to non-public addresses: resolved and checked, never connected
//! to.
//!
//! The names are numbers: the system's resolver reads them as addresses (inet_aton(3)), but address
//! parsers do not, so the tests need no malicious name server.

use crate::harness::{Ask, KEY, Keyside, Upstream, expect, holds};

/// Configures OpenAI at the name `host`. Its requests must be refused because of the name's
/// address, and the server that listens at that port on every loopback address must not receive
/// them.
fn check(name: &str, host: &str, upstream: &Upstream, allow_private: bool) {
    let base_url = format!("http://{host}:{}", upstream.address().port());
    let keyside = Keyside::builder()
        .provider("openai", &base_url)
        .set("providers.openai.allow_plaintext", "true")
        .set("providers.openai.allow_private", &allow_private.to_string())
        .set("proxy.deadlines.connect", "\"2s\"")
        .start()
        .with_key();
    let answer = keyside.ask(&Ask::chat());
    expect::refused(name, &answer, 502, "upstream_unreachable");
    assert_eq!(upstream.connections(), 0, "{name}: connected");
    let why = format!("{host} resolves to private or reserved addresses");
    keyside.log_line(|line| line.to_string().contains(&why));
}

#[test]
fn a_name_that_resolves_to_no_public_address_is_not_connected_to() {
    let upstream = Upstream::ok();
    for (name, host) in [
        ("the unspecified address", "0"),
        ("the unspecified address in hexadecimal", "0x0"),
        ("loopback as a number", "2130706433"),
        ("loopback in two parts", "127.1"),
        ("the metadata service as a number", "2852039166"),
        ("the metadata service in hexadecimal", "0xa9fea9fe"),
        ("the metadata service in three parts", "169.254.43518"),
        ("Azure's WireServer as a number", "2822734096"),
        ("Oracle's metadata service as a number", "3221225664"),
        ("a private network as a number", "167772161"),
        ("a private network in two parts", "192.11010049"),
        ("a network of a carrier as a number", "1681915905"),
        ("broadcast", "4294967295"),
    ] {
        check(name, host, &upstream, false);
    }
}

#[test]
fn allow_private_does_not_allow_this_machine_or_the_metadata_service() {
    let upstream = Upstream::ok();
    for (name, host) in [
        ("the unspecified address", "0"),
        ("loopback as a number", "2130706433"),
        ("the metadata service as a number", "2852039166"),
        (
            "a carrier's network, with Alibaba's metadata service",
            "1684301000",
        ),
        ("Azure's WireServer as a number", "2822734096"),
        ("broadcast", "4294967295"),
    ] {
        check(name, host, &upstream, true);
    }
}

#[test]
fn a_metadata_service_that_is_configured_is_refused_before_the_start() {
    for address in [
        "metadata.google.internal",
        "Instance-Data.EC2.internal",
        "168.63.129.16",
        "169.254.169.254",
        "[::ffff:a83f:8110]",
        "[fd00:ec2::254]",
    ] {
        let builder = Keyside::builder()
            .provider("openai", &format!("http://{address}"))
            .set("providers.openai.allow_plaintext", "true")
            .set("providers.openai.allow_private", "true");
        for command in ["check", "serve"] {
            let exit = builder.run(&[command], b"");
            assert_eq!(exit.code, Some(78), "{address}: {exit:#?}");
            for part in ["providers.openai.base_url", "metadata service"] {
                assert!(exit.stderr.contains(part), "{address}: {exit:#?}");
            }
        }
    }
}

#[test]
fn loopback_that_is_configured_as_such_is_connected_to() {
    for host in ["127.0.0.1", "localhost"] {
        let upstream = Upstream::ok();
        let keyside = Keyside::with_openai(&upstream.url_for(host));
        assert_eq!(keyside.ask(&Ask::chat()).status(), 200, "{host}");
        assert!(holds(&upstream.bytes(), KEY), "{host}");
    }
}
