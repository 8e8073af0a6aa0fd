//! A WebSocket client can send its key as the name of a subprotocol.

use super::OWN;
use crate::harness::{Ask, KEY, Keyside, Upstream, holds};

#[test]
fn a_subprotocol_without_an_upgrade_carries_no_credential_either() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let value = format!("realtime, openai-insecure-api-key.{OWN}");
    keyside.ask(&Ask::chat().header("Sec-WebSocket-Protocol", value));
    assert!(!holds(&upstream.bytes(), OWN), "{:?}", upstream.requests());
}

#[test]
fn a_credential_in_a_subprotocol_is_removed_and_the_rest_stays() {
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["realtime, openai-insecure-api-key.{OWN}, openai-beta.realtime-v1"],
            &["realtime", "openai-beta.realtime-v1"],
        ),
        (&["openai-insecure-api-key.{OWN}"], &[]),
        (
            &["realtime", "openai-insecure-api-key.{OWN}"],
            &["realtime"],
        ),
        (&["realtime,openai-insecure-api-key.{OWN}"], &["realtime"]),
        (&["OpenAI-Insecure-API-Key.{OWN} ,realtime"], &["realtime"]),
        (&["xai-client-secret.{OWN}, realtime"], &["realtime"]),
        (&["openai-organization.{OWN}", "realtime"], &["realtime"]),
        (&["realtime.{OWN}, Realtime, {OWN}"], &[]),
    ];
    for (sent, left) in cases {
        let upstream = Upstream::ok();
        let keyside = Keyside::with_openai(&upstream.base_url());
        let upgrade = Ask::get("/openai/v1/realtime?model=m")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        let ask = sent.iter().fold(upgrade, |ask, value| {
            ask.header("Sec-WebSocket-Protocol", value.replace("{OWN}", OWN))
        });
        assert_eq!(keyside.ask(&ask).status(), 200, "{sent:?}");
        let seen = upstream.only();
        assert!(!seen.holds(OWN), "{sent:?}: {:?}", seen.headers);
        let values = seen.headers_named("sec-websocket-protocol").join(",");
        let values: Vec<_> = values
            .split(',')
            .map(str::trim)
            .filter(|v| !v.is_empty())
            .collect();
        assert_eq!(values, *left, "{sent:?}");
        assert_eq!(
            seen.headers_named("authorization"),
            [format!("Bearer {KEY}")]
        );
    }
}

#[test]
fn each_provider_is_offered_only_what_it_is_known_to_speak() {
    let path_of = |provider: &str| match provider {
        "gemini" => "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
        "mistral" => "/v1/audio/transcriptions/realtime",
        _ => "/v1/realtime",
    };
    for (provider, left) in [
        ("xai", "realtime"),
        ("together", "realtime"),
        ("gemini", ""),
        ("mistral", ""),
    ] {
        let upstream = Upstream::ok();
        let keyside = Keyside::builder()
            .provider(provider, &upstream.base_url())
            .start();
        keyside.workspace("acme");
        keyside.add_key("acme", provider, "default", KEY);
        let ask = Ask::get(&format!("/{provider}{}", path_of(provider)))
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header(
                "Sec-WebSocket-Protocol",
                format!("xai-client-secret.{OWN}, realtime, {OWN}"),
            );
        assert_eq!(keyside.ask(&ask).status(), 200, "{provider}");
        let seen = upstream.only();
        assert!(!seen.holds(OWN), "{provider}: {:?}", seen.headers);
        let offered = seen.header("sec-websocket-protocol").unwrap_or_default();
        assert_eq!(offered, left, "{provider}");
    }
}
