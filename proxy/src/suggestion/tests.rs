use super::*;

fn suggest<'a>(provider: &'a Provider, method: &Method, path: &str) -> Option<Suggestion<'a>> {
    let asked = RefusedRequest {
        method,
        path,
        agent: None,
    };
    for_provider(provider, asked)
}

#[test]
fn a_wrong_path_prefix_suggests_the_right_base_url() {
    let catalogue = Catalogue::builtin();
    for (provider, asked, path, suffix, variable) in [
        (
            "anthropic",
            "/messages",
            "/v1/messages",
            "/v1",
            "ANTHROPIC_BASE_URL",
        ),
        (
            "anthropic",
            "/v1/v1/messages",
            "/v1/messages",
            "",
            "ANTHROPIC_BASE_URL",
        ),
        (
            "anthropic",
            "//v1/messages",
            "/v1/messages",
            "",
            "ANTHROPIC_BASE_URL",
        ),
        (
            "anthropic",
            "/v1/messages/",
            "/v1/messages",
            "",
            "ANTHROPIC_BASE_URL",
        ),
        (
            "openai",
            "/chat/completions",
            "/v1/chat/completions",
            "/v1",
            "OPENAI_BASE_URL",
        ),
        (
            "openai",
            "/v1/v1/responses",
            "/v1/responses",
            "/v1",
            "OPENAI_BASE_URL",
        ),
        (
            "openrouter",
            "/v1/messages",
            "/api/v1/messages",
            "/api",
            "ANTHROPIC_BASE_URL",
        ),
        (
            "azure-openai",
            "/chat/completions",
            "/openai/v1/chat/completions",
            "/openai/v1",
            "OPENAI_BASE_URL",
        ),
        (
            "groq",
            "/v1/chat/completions",
            "/openai/v1/chat/completions",
            "/openai/v1",
            "OPENAI_BASE_URL",
        ),
        (
            "gemini",
            "/models/gemini-3%3AgenerateContent",
            "/v1/models/gemini-3:generateContent",
            "/v1",
            "GOOGLE_GEMINI_BASE_URL",
        ),
    ] {
        let provider = catalogue.get(provider).unwrap();
        let found = suggest(provider, &Method::POST, asked);
        let expected = Suggestion::Path(Correction {
            provider: provider.id.as_str(),
            misspelt: None,
            workspace: None,
            path: path.into(),
            suffix: suffix.into(),
            variable: Some(variable),
        });
        assert_eq!(found, Some(expected), "{asked}");
    }
}

#[test]
fn a_route_that_is_refused_on_purpose_suggests_no_route_with_the_same_ending() {
    let catalogue = Catalogue::builtin();
    let openai = catalogue.get("openai").unwrap();
    for path in [
        "/v1/realtime/sessions",
        "/v1/realtime/client_secrets",
        "/v1/chatkit/sessions",
    ] {
        assert_eq!(suggest(openai, &Method::POST, path), None, "{path}");
    }
}

#[test]
fn another_method_or_group_is_named() {
    let catalogue = Catalogue::builtin();
    let openai = catalogue.get("openai").unwrap();
    let found = suggest(openai, &Method::GET, "/v1/embeddings");
    assert_eq!(found, Some(Suggestion::Methods(vec![&Method::POST])));
    let found = suggest(openai, &Method::GET, "/v1/chat/completions");
    let expected = Suggestion::Withheld(Group::Stored, vec![&Method::POST]);
    assert_eq!(found, Some(expected));
    assert_eq!(
        suggest(openai, &Method::GET, "/v1/organization/users"),
        None
    );
}

#[test]
fn a_missing_or_misspelt_provider_is_found() {
    let catalogue = Catalogue::builtin();
    for (asked, provider, workspace, path) in [
        (
            "/v1/chat/completions",
            "openai",
            None,
            "/v1/chat/completions",
        ),
        ("/v1/messages", "anthropic", None, "/v1/messages"),
        (
            "/open-ai/v1/chat/completions",
            "openai",
            None,
            "/v1/chat/completions",
        ),
        (
            "/OpenAI/v1/chat/completions",
            "openai",
            None,
            "/v1/chat/completions",
        ),
        ("/chat/completions", "openai", None, "/v1/chat/completions"),
        (
            "/w/acme/openai/v1/responses",
            "openai",
            None,
            "/v1/responses",
        ),
        ("/claude/v1/messages", "anthropic", None, "/v1/messages"),
        (
            "/acme/openai/v1/responses",
            "openai",
            Some("acme"),
            "/v1/responses",
        ),
    ] {
        let asked = RefusedRequest {
            method: &Method::POST,
            path: asked,
            agent: None,
        };
        let found = for_unknown_provider(&catalogue, asked, |name| name == "acme").unwrap();
        let told = (found.provider, found.workspace.as_deref(), &*found.path);
        assert_eq!(told, (provider, workspace, path));
    }
}

#[test]
fn a_misspelt_provider_is_recognised_as_one() {
    let catalogue = Catalogue::builtin();
    for (asked, misspelt) in [
        ("/opnai/v1/models", Some("opnai")),
        ("/w/acme/opnai/v1/models", Some("opnai")),
        ("/acme/opnai/v1/models", Some("opnai")),
        ("/acme/openai/v1/models", None),
        ("/v1/models", None),
    ] {
        let asked = RefusedRequest {
            method: &Method::GET,
            path: asked,
            agent: None,
        };
        let found = for_unknown_provider(&catalogue, asked, |name| name == "acme").unwrap();
        let told = (found.misspelt.as_deref(), found.provider);
        assert_eq!(told, (misspelt, "openai"), "{}", asked.path);
    }
}

#[test]
fn a_base_path_is_a_prefix_of_some_route() {
    let catalogue = Catalogue::builtin();
    let anthropic = catalogue.get("anthropic").unwrap();
    for (path, expected) in [
        ("/", true),
        ("/v1", true),
        ("/v1/", true),
        ("/v1/messages", false),
        ("/v1/organizations", false),
        ("/v2", false),
    ] {
        assert_eq!(is_base_url(anthropic, path), expected, "{path}");
    }
}
