//! The checks of the built-in providers, and what responses to them mean.

mod responses;

use self::responses::{PROMPTS, REQUESTS};
use super::*;
use crate::Catalogue;

fn cause(provider: &str, kind: CheckKind, status: u16, body: &str) -> Option<Cause> {
    let builtin = Catalogue::builtin();
    let provider = builtin.get(provider).unwrap();
    provider.check.cause(kind, status, body.as_bytes())
}

/// Requests that only Keyside's checks may send: they return facts about the account instead of
/// generating a response.
const ONLY_BY_KEYSIDE: [(&str, &str); 3] = [
    ("cohere", "/v1/check-api-key"),
    ("deepseek", "/user/balance"),
    ("openrouter", "/api/v1/key"),
];

/// Provider, status, body, cause.
type Case = (&'static str, u16, &'static str, Option<Cause>);

#[test]
fn each_provider_s_response_to_the_cheapest_request_has_its_cause() {
    for (provider, status, body, expected) in REQUESTS {
        let found = cause(provider, CheckKind::Request, *status, body);
        assert_eq!(found, *expected, "{provider} {status} {body}");
    }
}

#[test]
fn each_provider_s_response_to_a_prompt_has_its_cause() {
    for (provider, status, body, expected) in PROMPTS {
        let found = cause(provider, CheckKind::Prompt, *status, body);
        assert_eq!(found, *expected, "{provider} {status} {body}");
    }
}

#[test]
fn a_provider_without_special_cases_follows_the_general_rules() {
    for (status, expected) in [
        (200, None),
        (204, None),
        (302, Some(Cause::ResponseUnexpected)),
        (400, Some(Cause::ResponseUnexpected)),
        (401, Some(Cause::WrongKey)),
        (402, Some(Cause::NoFunds)),
        (403, Some(Cause::AccessDenied)),
        (404, Some(Cause::WrongEndpoint)),
        (405, Some(Cause::WrongEndpoint)),
        (429, Some(Cause::RateLimited)),
        (500, Some(Cause::ProviderFailed)),
        (529, Some(Cause::ProviderFailed)),
        (999, Some(Cause::ResponseUnexpected)),
    ] {
        assert_eq!(
            cause("sandbox", CheckKind::Request, status, "{}"),
            expected,
            "{status}"
        );
    }
    let no_such_model = cause("sandbox", CheckKind::Prompt, 404, "{}");
    assert_eq!(no_such_model, Some(Cause::ModelUnavailable));
}

#[test]
fn the_meaning_ignores_white_space_and_case() {
    for body in [
        r#"{"error":{"code":"insufficient_quota"}}"#,
        "{\n  \"error\" : {\n \"code\" : \"INSUFFICIENT_QUOTA\" } }",
    ] {
        let found = cause("openai", CheckKind::Request, 429, body);
        assert_eq!(found, Some(Cause::NoFunds), "{body}");
    }
    for body in ["", "{", "\u{0}\u{ff}"] {
        let found = cause("openai", CheckKind::Request, 429, body);
        assert_eq!(found, Some(Cause::RateLimited), "{body:?}");
    }
}

#[test]
fn a_body_is_needed_where_it_can_change_the_meaning() {
    let builtin = Catalogue::builtin();
    let needs = |id: &str, status| builtin.get(id).unwrap().check.needs_body(status);
    assert!(needs("openai", 429) && needs("cohere", 200) && needs("fireworks", 412));
    assert!(!needs("openai", 200) && !needs("openai", 503));
}

#[test]
fn a_prompt_is_chosen_where_the_provider_has_one() {
    let builtin = Catalogue::builtin();
    for (id, path, kind) in [
        ("openai", "/v1/chat/completions", CheckKind::Prompt),
        (
            "azure-openai",
            "/openai/models?api-version=2024-10-21",
            CheckKind::Request,
        ),
    ] {
        let (request, chosen) = builtin.get(id).unwrap().check.choose(CheckKind::Prompt);
        assert_eq!((request.path.as_str(), chosen), (path, kind));
    }
}

#[test]
fn names_are_the_same_in_settings_and_responses() {
    for cause in Cause::ALL {
        let json = serde_json::to_value(cause).unwrap();
        assert_eq!(json, cause.as_str());
        assert!(!cause.meaning().is_empty());
    }
}

#[test]
fn a_next_step_leads_to_the_provider_s_own_pages() {
    let builtin = Catalogue::builtin();
    let next = |id: &str, cause| builtin.get(id).unwrap().next_step(cause);
    assert!(next("openai", Cause::NoFunds).contains("https://platform.openai.com/settings"));
    assert!(next("deepseek", Cause::NoFunds).contains("https://platform.deepseek.com/top_up"));
    assert!(
        next("xai", Cause::NoFunds).contains("https://console.x.ai"),
        "no page of its own"
    );
    assert!(next("groq", Cause::ProviderFailed).contains("https://groqstatus.com"));
    assert!(next("gemini", Cause::ApiNotAllowed).contains("Generative Language API"));
    assert!(next("sandbox", Cause::ProviderFailed).contains("the provider's status page"));
}

#[test]
fn every_prompt_is_metered_and_capped() {
    Catalogue::builtin().iter().for_each(|provider| {
        let Some(prompt) = &provider.check.prompt else {
            assert_eq!(
                provider.id.as_str(),
                "azure-openai",
                "its models have any name"
            );
            return;
        };
        let route = provider.route(&prompt.method, &prompt.path).unwrap();
        assert!(route.metered, "{}", provider.id);
        let body: serde_json::Value = serde_json::from_str(prompt.body.as_ref().unwrap()).unwrap();
        let caps = [
            "/max_tokens",
            "/max_completion_tokens",
            "/max_output_tokens",
            "/generationConfig/maxOutputTokens",
            "/inferenceConfig/maxTokens",
        ];
        let cap = caps.iter().find_map(|cap| body.pointer(cap)?.as_u64());
        assert!(cap.is_some_and(|cap| cap <= 16), "{}: {body}", provider.id);
    });
}

#[test]
fn every_next_step_of_every_provider_is_complete() {
    Catalogue::builtin().iter().for_each(|provider| {
        for cause in Cause::ALL {
            let next = provider.next_step(*cause);
            assert!(!next.contains(['{', '}', '\n']), "{}: {next}", provider.id);
            assert!(next.len() > 20, "{}: {next}", provider.id);
        }
        for link in [&provider.links.billing, &provider.links.status] {
            let link = link.as_deref().unwrap_or("https://");
            assert!(link.starts_with("https://"), "{}: {link}", provider.id);
        }
    });
}

#[test]
fn every_check_is_allowed_for_clients_or_known_to_be_keyside_s_only() {
    Catalogue::builtin().iter().for_each(|provider| {
        let id = provider.id.as_str();
        let requests = [
            Some(&provider.check.request),
            provider.check.prompt.as_ref(),
        ];
        for check in requests.into_iter().flatten() {
            let path = check.path.split('?').next().unwrap();
            let ours = ONLY_BY_KEYSIDE.contains(&(id, path));
            assert_eq!(
                provider.route(&check.method, path).is_none(),
                ours,
                "{id}: {path}"
            );
            if let Some(body) = &check.body {
                assert!(
                    serde_json::from_str::<serde_json::Value>(body).is_ok(),
                    "{id}: {body}"
                );
            }
        }
    });
}
