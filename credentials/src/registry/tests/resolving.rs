use Environment::{Live, Sandbox};
use EnvironmentPin::Any;

use super::*;

/// `acme` with live keys `a` (default) and `b`, and a sandbox key `s` (default), for openai; only a
/// sandbox key for gemini, only a live one for anthropic.
async fn stocked() -> (Installation, Arc<Registry>) {
    let (installation, registry) = Installation::with_acme().await;
    for (provider, label, environment) in [
        ("openai", "a", Live),
        ("openai", "b", Live),
        ("openai", "s", Sandbox),
        ("gemini", "s", Sandbox),
        ("anthropic", "a", Live),
    ] {
        let new = NewCredential {
            provider: provider.to_owned(),
            environment,
            ..key(label, &format!("sk-{provider}-{label}"))
        };
        registry.add(&act(), new).await.unwrap();
    }
    (installation, registry)
}

#[tokio::test]
async fn the_credential_depends_only_on_provider_label_environment_and_pin() {
    let (_installation, registry) = stocked().await;
    let resolver = registry.resolver();
    let sandbox = EnvironmentPin::Sandbox;
    let live = EnvironmentPin::Live;
    let missing = Err(Refusal::CredentialMissing);
    let not_allowed = Err(Refusal::EnvironmentNotAllowed);
    let cases = [
        // Provider, label, requested environment, pin of the listener, outcome.
        ("openai", None, None, Any, Ok("sk-openai-a")),
        ("openai", None, Some(Live), Any, Ok("sk-openai-a")),
        ("openai", None, Some(Sandbox), Any, Ok("sk-openai-s")),
        ("openai", Some("b"), None, Any, Ok("sk-openai-b")),
        ("openai", Some("b"), Some(Live), Any, Ok("sk-openai-b")),
        ("openai", Some("b"), Some(Sandbox), Any, not_allowed),
        ("openai", Some("s"), Some(Sandbox), Any, Ok("sk-openai-s")),
        ("openai", Some("x"), None, Any, Err(Refusal::LabelUnknown)),
        ("openai", None, None, sandbox, Ok("sk-openai-s")),
        ("openai", None, Some(Live), sandbox, not_allowed),
        ("openai", Some("a"), None, sandbox, not_allowed),
        ("openai", Some("s"), None, sandbox, Ok("sk-openai-s")),
        ("openai", None, None, live, Ok("sk-openai-a")),
        ("openai", None, Some(Sandbox), live, not_allowed),
        ("openai", Some("s"), None, live, not_allowed),
        ("gemini", None, None, Any, Ok("sk-gemini-s")),
        ("gemini", None, Some(Live), Any, missing),
        ("gemini", None, None, live, missing),
        ("anthropic", None, None, Any, Ok("sk-anthropic-a")),
        ("anthropic", None, None, sandbox, missing),
        ("anthropic", None, Some(Sandbox), Any, missing),
        ("cohere", None, None, Any, missing),
        ("cohere", Some("a"), None, Any, missing),
    ];
    for (provider, label, environment, pin, outcome) in cases {
        let ask = CredentialQuery {
            workspace: "acme",
            provider,
            label,
            environment,
            pin,
        };
        for _ in 0..3 {
            let got = opened(resolver.resolve(&ask));
            assert_eq!(got.as_deref(), outcome.as_deref(), "{ask:?}");
        }
    }
}

#[tokio::test]
async fn a_listener_pinned_to_sandbox_never_gets_a_live_key_whatever_is_asked() {
    let (_installation, registry) = stocked().await;
    let resolver = registry.resolver();
    for provider in ["openai", "gemini", "anthropic", "cohere"] {
        for label in [None, Some("a"), Some("b"), Some("s"), Some("")] {
            for environment in [None, Some(Live), Some(Sandbox)] {
                let ask = CredentialQuery {
                    workspace: "acme",
                    provider,
                    label,
                    environment,
                    pin: EnvironmentPin::Sandbox,
                };
                let granted = resolver.resolve(&ask).map(|grant| grant.environment());
                assert_ne!(granted, Ok(Live), "{ask:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_resolver_knows_exactly_the_existing_workspaces() {
    let (_installation, registry) = stocked().await;
    let resolver = registry.resolver();
    assert!(resolver.knows("acme") && !resolver.knows("globex") && !resolver.knows(""));
    assert_eq!(
        resolver.resolve(&ask("globex")).unwrap_err(),
        Refusal::WorkspaceUnknown
    );
}

#[tokio::test]
async fn a_resolver_made_before_a_change_sees_it() {
    let (_installation, registry) = Installation::with_acme().await;
    let resolver = registry.resolver().clone();
    assert_eq!(
        resolver.resolve(&ask("acme")).unwrap_err(),
        Refusal::CredentialMissing
    );
    registry.add(&act(), key("default", "sk-1")).await.unwrap();
    assert_eq!(opened(resolver.resolve(&ask("acme"))).unwrap(), "sk-1");
}

#[test]
fn every_refusal_has_its_own_code() {
    let codes: std::collections::HashSet<_> =
        Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
    assert_eq!(codes.len(), Refusal::ALL.len());
}

fn others(grant: &Grant, second: i64) -> Vec<String> {
    let now = jiff::Timestamp::from_second(second).unwrap();
    grant.open_others(|| now).iter().map(plain).collect()
}

#[tokio::test]
async fn a_grant_opens_versions_in_grace_until_they_expire() {
    let (installation, registry, id) = one_key().await;
    let resolve = |registry: &Registry| registry.resolver().resolve(&ask("acme")).unwrap();
    let of_one = resolve(&registry).open_others(|| panic!("no version ends"));
    assert!(of_one.is_empty());

    registry.rotate(&act(), &id, to("sk-2")).await.unwrap();
    let at_once = Rotation {
        grace: std::time::Duration::ZERO,
        ..to("sk-3")
    };
    registry.rotate(&act(), &id, at_once).await.unwrap();
    let grant = resolve(&registry);
    assert_eq!(opened(Ok(grant.clone())).unwrap(), "sk-3");
    assert_eq!(others(&grant, NOW), ["sk-1"], "sk-2 was destroyed");
    assert_eq!(others(&grant, NOW + DAY - 1), ["sk-1"]);
    assert!(others(&grant, NOW + DAY).is_empty(), "its grace is over");

    let acme = "acme".parse().unwrap();
    registry.rotate_workspace_key(&act(), &acme).await.unwrap();
    drop(registry);
    let reopened = installation.open().await;
    let grant = resolve(&reopened);
    assert_eq!(others(&grant, NOW), ["sk-1"]);
}
