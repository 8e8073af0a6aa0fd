use keyside_config::Catalogue;
use serde_json::Value;

use super::*;

fn body_of(refusal: Refusal, provider: &str) -> Value {
    let catalogue = Catalogue::builtin();
    let provider = catalogue.get(provider).unwrap().clone();
    let context = RefusalContext {
        workspace: Some("acme"),
        provider: Some(&provider),
        ..RefusalContext::default()
    };
    let response = refusal.respond(Some("http://admin"), RequestId::next(), &context);
    serde_json::from_slice(response.body()).unwrap()
}

#[test]
fn every_shape_carries_code_remediation_and_request_id() {
    let missing = Refusal::Credential(credentials::Refusal::CredentialMissing);
    for provider in Catalogue::builtin().iter() {
        let body = body_of(missing, provider.id.as_str());
        assert_eq!(body["code"], "credential_missing", "{}", provider.id);
        let link = body["remediation"].as_str().unwrap();
        assert!(
            link.starts_with("http://admin/keys/new?workspace=acme&provider="),
            "{link}"
        );
        assert!(body["request_id"].as_str().unwrap().starts_with("req_"));
    }
}

#[test]
fn each_provider_has_its_own_error_shape() {
    let missing = Refusal::Credential(credentials::Refusal::CredentialMissing);
    let openai = body_of(missing, "openai");
    assert_eq!(openai["error"]["type"], "authentication_error");
    assert_eq!(openai["error"]["code"], "credential_missing");
    let anthropic = body_of(missing, "anthropic");
    assert_eq!(anthropic["type"], "error");
    assert_eq!(anthropic["error"]["type"], "authentication_error");
    let gemini = body_of(missing, "gemini");
    assert_eq!(gemini["error"]["code"], 401);
    assert_eq!(gemini["error"]["status"], "UNAUTHENTICATED");
    assert!(body_of(missing, "cohere")["message"].is_string());
}

#[test]
fn a_wrong_environment_is_explained_by_what_contradicts_it() {
    use credentials::Environment::{Live, Sandbox};
    let refusal = Refusal::Credential(credentials::Refusal::EnvironmentNotAllowed);
    let message = |pin, environment| {
        refusal.message(&RefusalContext {
            workspace: Some("acme"),
            label: Some("prod"),
            environment,
            pin,
            ..RefusalContext::default()
        })
    };
    for (pin, environment, beginning) in [
        (
            None,
            Some(Sandbox),
            "The request asks for a sandbox key, and the",
        ),
        (
            Some(Sandbox),
            Some(Sandbox),
            "This listener is pinned to sandbox, and the",
        ),
        (
            Some(Sandbox),
            Some(Live),
            "The request asks for a live key, and this listener is pinned to sandbox.",
        ),
    ] {
        let message = message(pin, environment);
        assert!(message.starts_with(beginning), "{message}");
    }
}

/// A damaged workspace accepts no key.
#[test]
fn the_remedy_for_a_damaged_record_works_in_a_damaged_workspace_too() {
    let damaged = Refusal::Credential(credentials::Refusal::CredentialUndecryptable);
    let body = body_of(damaged, "openai");
    let message = body["error"]["message"].as_str().unwrap();
    for part in ["\"acme\"", "Restore a backup", "in another workspace"] {
        assert!(message.contains(part), "no {part}: {message}");
    }
}

/// Commands need an admin API, which such a process does not have.
#[test]
fn without_an_admin_app_a_message_names_the_settings_and_no_command() {
    use credentials::{Cap, Refusal as Denied};
    let context = RefusalContext {
        workspace: Some("acme"),
        declared_only: true,
        ..RefusalContext::default()
    };
    for denied in [
        Denied::WorkspaceUnknown,
        Denied::CredentialMissing,
        Denied::LabelUnknown,
        Denied::BudgetExhausted(Cap::CredentialTokens),
    ] {
        let message = Refusal::Credential(denied).message(&context);
        assert!(message.contains("[[credential]] table"), "{message}");
        assert!(!message.contains("keyside "), "{message}");
    }
}

#[test]
fn codes_are_unique() {
    let mut codes: Vec<_> = Refusal::codes().collect();
    let count = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), count);
}

#[test]
fn a_reached_limit_is_403_in_every_shape_and_never_retried() {
    use credentials::Cap;
    for (cap, whose, link) in [
        (Cap::CredentialRequests, "The OpenAI key", "/keys?"),
        (Cap::CredentialTokens, "The OpenAI key", "/keys?"),
        (Cap::WorkspaceRequests, "Workspace \"acme\"", "/workspaces?"),
        (Cap::WorkspaceTokens, "Workspace \"acme\"", "/workspaces?"),
    ] {
        let exhausted = Refusal::Credential(credentials::Refusal::BudgetExhausted(cap));
        assert_eq!(exhausted.status(), StatusCode::FORBIDDEN);
        assert!(!exhausted.retry_can_help());
        let body = body_of(exhausted, "openai");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.starts_with(whose), "{message}");
        let link_to = body["remediation"].as_str().unwrap();
        assert!(
            link_to.starts_with(&format!("http://admin{link}")),
            "{link_to}"
        );
        for provider in Catalogue::builtin().iter() {
            let body = body_of(exhausted, provider.id.as_str());
            assert_eq!(body["code"], "budget_exhausted", "{}", provider.id);
        }
    }
}
