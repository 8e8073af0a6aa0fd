//! Checks every built-in provider against the rules that all providers share.

use std::{collections::BTreeSet, fs};

use http::Method;

use super::*;
use crate::{Auth, Subprotocol, Upstream, UsageRule};

/// Endpoints that create or delete credentials, spend, or administer, according to the providers'
/// API references.
const NEVER: &[&str] = &[
    "/api/v1/auth/keys",
    "/api/v1/byok",
    "/api/v1/credits",
    "/api/v1/guardrails",
    "/api/v1/keys",
    "/api/v1/keys/x",
    "/api/v1/organization/members",
    "/api/v1/vault/secrets",
    "/api/v1/workspaces",
    "/dashboard/billing/usage",
    "/generate_auth_token",
    "/revoke_auth_token",
    "/inference/v1/accounts",
    "/openai/deployments",
    "/openai/deployments/x",
    "/openai/files",
    "/openai/fine_tuning/jobs",
    "/openai/realtimeapi/sessions",
    "/openai/v1/files",
    "/openai/v1/fine_tuning/jobs",
    "/openai/v1/realtime/client_secrets",
    "/v1/accounts/x/apiKeys",
    "/v1/accounts/x/secrets",
    "/v1/accounts/x/users/y/apiKeys",
    "/v1/admin/api-keys",
    "/v1/admin/users",
    "/v1/agents",
    "/v1/api-key",
    "/v1/api_keys",
    "/v1/billing/usage",
    "/v1/batches",
    "/v1/connectors",
    "/v1/connectors/x/user/credentials",
    "/v1/datasets",
    "/v1/deployments/secrets",
    "/v1/files",
    "/v1/fine_tuning/jobs",
    "/v1/fine-tunes",
    "/v1/finetuning/finetuned-models",
    "/v1/organization",
    "/v1/organization/admin_api_keys",
    "/v1/organization/projects/x/api_keys",
    "/v1/organizations/api_keys",
    "/v1/organizations/me",
    "/v1/organizations/users",
    "/v1/projects",
    "/v1/realtime/client_secrets",
    "/v1/realtime/sessions",
    "/v1/realtime/transcription_sessions",
    "/v1/service-accounts",
    "/v1/tunnels/x/reveal_token",
    "/v1/users/me",
    "/v1/vaults/x/credentials",
    "/v1/webhook_endpoints/x/rotate_secret",
    "/v1/whoami",
    "/v1alpha/auth_tokens",
    "/v1beta/auth_tokens",
    "/v1beta/cachedContents",
    "/v1beta/files",
    "/v1beta/tunedModels",
];

const METHODS: [Method; 6] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// Runs `rule` on every built-in provider.
fn each(rule: impl Fn(&Provider)) {
    Catalogue::builtin()
        .iter()
        .for_each(|provider| rule(provider));
}

#[test]
fn the_folder_holds_what_the_catalogue_lists() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/providers");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap());
    let listed = BUILTIN.iter().map(|(id, _)| format!("{id}.toml"));
    assert_eq!(files.collect::<BTreeSet<_>>(), listed.collect());
    let builtin = Catalogue::builtin();
    assert_eq!(builtin.iter().count(), 15);
    builtin
        .iter()
        .for_each(|provider| assert!(builtin.get(provider.id.as_str()).is_some()));
}

#[test]
fn every_upstream_is_reached_over_tls_and_only_the_sandbox_has_no_address() {
    each(
        |provider| match (&provider.upstream, provider.id.as_str()) {
            (Upstream::Fixed(_), "sandbox") => assert!(!provider.has_address()),
            (Upstream::Fixed(url), id) => {
                assert_eq!(url.scheme, crate::Scheme::Https, "{id}");
                assert!(provider.has_address(), "{id}");
                // Routes have the paths of the provider's documentation, except for the part that
                // its SDKs take from the base URL, which is the route's `below`.
                assert_eq!(url.path, "", "{id}");
            }
            (Upstream::PerCredential(rule), id) => {
                assert_eq!(id, "azure-openai");
                assert!(rule.accept(&rule.example).is_ok());
            }
        },
    );
}

#[test]
fn every_key_travels_in_a_header_that_is_known_to_carry_one() {
    each(|provider| match &provider.auth {
        Auth::Header { name, .. } => {
            assert!(
                crate::field::is_credential_header(name),
                "{}: {name}",
                provider.id
            )
        }
        Auth::Query { .. } => panic!("{}: a query ends up in logs", provider.id),
    });
}

#[test]
fn every_key_rule_fits_its_own_example() {
    each(|provider| {
        let (id, key) = (&provider.id, &provider.key);
        let pattern = key.pattern.as_str();
        assert!(
            pattern.starts_with('^') && pattern.ends_with('$'),
            "{id}: {pattern}"
        );
        assert!(
            key.pattern.is_match(&key.example),
            "{id}: {pattern} and {}",
            key.example
        );
        assert!(!key.pattern.is_match(&format!("{} ", key.example)), "{id}");
        let known = key
            .prefix
            .iter()
            .any(|prefix| key.example.starts_with(prefix));
        assert!(known || key.prefix.is_empty(), "{id}");
        assert!(
            key.prefix
                .is_sorted_by(|longer, shorter| longer.len() >= shorter.len()),
            "{id}"
        );
    });
}

#[test]
fn refused_kinds_exclude_the_usual_form_and_name_an_alternative() {
    each(|provider| {
        let (id, key) = (&provider.id, &provider.key);
        assert_eq!(key.refusal(key.example.as_bytes()), None, "{id}");
        for refused in &key.refused {
            let (prefix, why) = (&refused.prefix, &refused.why);
            for filler in ["a", "A", "0"] {
                let one = format!("{prefix}{}", filler.repeat(40));
                assert!(!key.pattern.is_match(&one), "{id}: {prefix}");
                assert!(key.refusal(one.as_bytes()).is_some(), "{id}: {prefix}");
            }
            assert!(why.ends_with(" instead."), "{id}: {why:?}");
            assert!(!why.contains('\n'), "{id}: {why:?}");
        }
    });
    let builtin = Catalogue::builtin();
    for (id, kinds) in [
        ("openai", &["sk-admin-", "sess-", "eyJ"][..]),
        (
            "anthropic",
            &["sk-ant-admin", "sk-ant-oat", "sk-ant-ort", "sk-ant-sid"][..],
        ),
        ("bedrock", &["AKIA", "ASIA"][..]),
        ("gemini", &["ya29.", "GOCSPX-"][..]),
    ] {
        let refused = builtin.get(id).unwrap().key.refused.iter();
        let prefixes: Vec<_> = refused.map(|kind| kind.prefix.as_str()).collect();
        assert_eq!(prefixes, kinds, "{id}");
    }
}

#[test]
fn no_provider_lets_a_client_near_keys_money_or_people() {
    each(|provider| {
        for path in NEVER {
            let open = METHODS
                .iter()
                .find(|method| provider.route(method, path).is_some());
            assert_eq!(open, None, "{}: {path}", provider.id);
        }
    });
}

/// Endpoints that belong to no group, although similar ones do.
const IN_NO_GROUP: [(&str, &str); 15] = [
    ("mistral", "/v1/workflows/deployments"),
    ("mistral", "/v1/workflows/deployments/execute"),
    ("mistral", "/v1/workflows/Deployments/execute"),
    ("mistral", "/v1/workflows/deployments/archive"),
    ("mistral", "/v1/workflows/deployments/metrics"),
    ("mistral", "/v1/workflows/deployments/mine"),
    ("openai", "/v1/realtime/client_secrets"),
    ("openai", "/v1/realtime/sessions"),
    ("azure-openai", "/openai/v1/realtime/client_secrets"),
    ("fireworks", "/v1/accounts"),
    ("fireworks", "/v1/accounts/mine"),
    ("fireworks", "/v1/accounts/mine/users/me/apiKeys"),
    ("fireworks", "/v1/accounts/mine/users/me/apiKeys:delete"),
    ("fireworks", "/v1/accounts/mine/secrets/s"),
    ("fireworks", "/v1/accounts/mine/deployments/d"),
];

#[test]
fn no_group_administers_or_creates_credentials() {
    let builtin = Catalogue::builtin();
    for (id, path) in IN_NO_GROUP {
        let provider = builtin.get(id).unwrap();
        let of_all_groups = provider.routes.iter();
        let of_all_groups = of_all_groups.chain(provider.withheld.iter().map(|(_, route)| route));
        let open: Vec<_> = of_all_groups
            .filter(|route| METHODS.iter().any(|method| route.allows(method, path)))
            .map(|route| route.path.to_string())
            .collect();
        assert!(open.is_empty(), "{id}: {path} is covered by {open:?}");
    }
}

#[test]
fn routes_that_generate_are_forwarded_and_those_that_store_are_withheld() {
    let builtin = Catalogue::builtin();
    for (id, path) in [
        ("openai", "/v1/realtime/calls"),
        ("openai", "/v1/realtime/calls/rtc_1/accept"),
        ("openai", "/v1/realtime/calls/rtc_1/hangup"),
        ("openai", "/v1/realtime/calls/rtc_1/refer"),
        ("openai", "/v1/realtime/calls/rtc_1/reject"),
        ("openai", "/v1/live/sessions"),
        ("openai", "/v1/live/sessions/s_1/fork"),
        ("azure-openai", "/openai/v1/realtime/calls"),
        ("mistral", "/v1/workflows/mine/execute"),
        ("mistral", "/v1/workflows/registrations/r_1/execute"),
    ] {
        let route = builtin.get(id).unwrap().route(&Method::POST, path);
        let route = route.unwrap_or_else(|| panic!("{id}: {path}"));
        // Their responses do not report tokens.
        assert!(!route.meters(&Method::POST, false), "{id}: {path}");
    }
    for (id, path) in [
        ("mistral", "/v1/workflows/mine"),
        ("fireworks", "/v1/accounts/mine/datasets/d"),
        ("fireworks", "/v1/accounts/mine/supervisedFineTuningJobs/j"),
    ] {
        let provider = builtin.get(id).unwrap();
        assert_eq!(provider.route(&Method::GET, path), None, "{id}: {path}");
        let withheld = provider.withheld.iter();
        let covering = withheld.filter(|(_, route)| route.allows(&Method::GET, path));
        assert!(covering.count() > 0, "{id}: {path}");
    }
}

#[test]
fn a_route_below_a_base_path_is_forwarded_there() {
    let builtin = Catalogue::builtin();
    let fireworks = builtin.get("fireworks").unwrap();
    let path = "/v1/chat/completions";
    let route = fireworks.route(&Method::POST, path).unwrap();
    assert_eq!(route.upstream_path(path), "/inference/v1/chat/completions");
    let path = "/v1/accounts/mine/datasets";
    let mut withheld = fireworks.withheld.iter().map(|(_, route)| route);
    let route = withheld.find(|route| route.path.matches(path));
    assert_eq!(route.unwrap().upstream_path(path), path);
}

#[test]
fn routes_are_exact_and_not_repeated() {
    each(|provider| {
        let mut seen = BTreeSet::new();
        for route in &provider.routes {
            let path = route.path.to_string();
            // Model names may contain slashes.
            let reads_models = path.contains("model") && route.methods == [Method::GET];
            assert!(
                !path.ends_with("/**") || reads_models,
                "{}: {path} allows what nobody looked at",
                provider.id
            );
            assert!(
                !route.upgrade || route.methods == [Method::GET],
                "{}: {path}",
                provider.id
            );
            for method in &route.methods {
                assert!(
                    seen.insert((method.to_string(), path.clone())),
                    "{}: {method} {path}",
                    provider.id
                );
            }
        }
    });
}

#[test]
fn every_sdk_reaches_its_own_endpoint_through_its_suffix() {
    each(|provider| {
        for sdk in &provider.sdk {
            let usual: &[&str] = match sdk.variable.as_str() {
                "OPENAI_BASE_URL" => &["/chat/completions", "/responses"],
                "ANTHROPIC_BASE_URL" | "FIREWORKS_BASE_URL" => &["/v1/messages"],
                _ => continue,
            };
            let paths = usual.iter().map(|path| format!("{}{path}", sdk.suffix));
            let reached = paths
                .filter(|path| provider.route(&Method::POST, path).is_some())
                .count();
            assert!(reached > 0, "{}: {sdk:?}", provider.id);
        }
    });
}

#[test]
fn every_sdk_has_a_variable_for_the_dummy_key() {
    each(|provider| {
        for sdk in &provider.sdk {
            assert!(!sdk.key_variables.is_empty(), "{}: {sdk:?}", provider.id);
            for name in &sdk.key_variables {
                let fits = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
                assert!(name.bytes().all(fits), "{}: {name}", provider.id);
            }
        }
    });
}

#[test]
fn every_provider_has_its_texts_for_people() {
    each(|provider| {
        let id = &provider.id;
        for link in [&provider.links.docs, &provider.links.console] {
            assert!(link.starts_with("https://"), "{id}: {link}");
        }
        for sentence in provider
            .steps
            .iter()
            .chain([&provider.rate_limits, &provider.sandbox.note])
        {
            assert!(
                sentence.ends_with('.') && !sentence.contains('\n'),
                "{id}: {sentence:?}"
            );
        }
        assert!(
            !provider.steps.is_empty() && !provider.sdk.is_empty(),
            "{id}"
        );
        assert!(!provider.usage.is_empty(), "{id} counts tokens");
        let counts = |rule: &UsageRule| !rule.input.is_empty() && !rule.output.is_empty();
        assert!(provider.usage.iter().all(counts), "{id}");
    });
}

#[test]
fn every_provider_has_advice_on_keys_for_development() {
    each(|provider| {
        let (id, advice) = (&provider.id, &provider.development);
        assert!(!advice.steps.is_empty(), "{id}");
        for step in &advice.steps {
            assert!(step.ends_with('.') && !step.contains('`'), "{id}: {step}");
        }
        // Its key ends with the demo that made it.
        let is_sandbox = id.as_str() == "sandbox";
        assert_eq!(advice.expires_in_days.is_none(), is_sandbox, "{id}");
        assert_eq!(advice.links.is_empty(), is_sandbox, "{id}");
    });
}

#[test]
fn a_subprotocol_is_offered_on_only_where_there_is_an_upgrade_and_never_one_that_can_be_a_key() {
    each(|provider| {
        let upgrades = provider.routes.iter().any(|route| route.upgrade);
        assert!(
            upgrades || provider.subprotocols.is_empty(),
            "{}",
            provider.id
        );
        for subprotocol in provider.subprotocols.iter().map(Subprotocol::as_str) {
            let keyed = ["key", "secret", "token"];
            assert!(
                !keyed.iter().any(|word| subprotocol.contains(word)),
                "{}: {subprotocol}",
                provider.id
            );
        }
    });
    let builtin = Catalogue::builtin();
    for (id, known) in [
        ("openai", 2),
        ("azure-openai", 2),
        ("xai", 2),
        ("gemini", 0),
    ] {
        assert_eq!(builtin.get(id).unwrap().subprotocols.len(), known, "{id}");
    }
}

#[test]
fn the_realtime_endpoints_are_upgrades() {
    let builtin = Catalogue::builtin();
    for (id, path) in [
        ("openai", "/v1/realtime"),
        ("azure-openai", "/openai/realtime"),
        ("azure-openai", "/openai/v1/realtime"),
    ] {
        let route = builtin.get(id).unwrap().route(&Method::GET, path).unwrap();
        assert!(route.upgrade, "{id}: {path}");
    }
}

#[test]
fn only_routes_that_generate_are_metered() {
    // Or the tokens are reported elsewhere: calls and sessions without a socket, workflows.
    let spends_nothing = [
        "async",
        "batches",
        "/calls",
        "cancel",
        "count",
        "input_tokens",
        "/live/sessions",
        "queue",
        "tokenize",
        "validate",
        "/workflows/",
    ];
    each(|provider| {
        let posts = provider.routes.iter();
        for route in posts.filter(|route| route.methods.contains(&Method::POST)) {
            let path = route.path.to_string();
            let spends = !spends_nothing.iter().any(|word| path.contains(word));
            assert_eq!(
                route.meters(&Method::POST, false),
                spends,
                "{}: {path}",
                provider.id
            );
        }
    });
}

#[test]
fn only_a_post_and_a_websocket_are_metered() {
    each(|provider| {
        for route in &provider.routes {
            for method in METHODS {
                let metered = route.meters(&method, false);
                assert!(!metered || method == Method::POST, "{}", provider.id);
            }
            if route.upgrade {
                let path = &route.path;
                // The request joins a session that another connection may already count.
                let joins = path.to_string().ends_with("/attach");
                let meters = route.meters(&Method::GET, true);
                assert_eq!(meters, !joins, "{}: {path}", provider.id);
            }
        }
    });
}
