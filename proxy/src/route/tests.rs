use super::*;

#[test]
fn a_target_names_provider_and_path_with_or_without_a_workspace() {
    let target = |workspace, provider, rest| {
        Some(Target {
            workspace,
            provider,
            rest,
        })
    };
    for (path, expected) in [
        ("/openai/v1/models", target(None, "openai", "/v1/models")),
        (
            "/w/acme/openai/v1/models",
            target(Some("acme"), "openai", "/v1/models"),
        ),
        ("/openai", target(None, "openai", "/")),
        ("/openai/", target(None, "openai", "/")),
        ("/w/acme/openai", target(Some("acme"), "openai", "/")),
        ("/", None),
        ("/w", None),
        ("/w/acme", target(Some("acme"), "", "/")),
        ("/w/acme/", target(Some("acme"), "", "/")),
        ("/w//openai", None),
    ] {
        assert_eq!(split(path), expected, "{path}");
    }
}

#[test]
fn a_path_that_is_refused_is_read_as_closely_as_possible() {
    for (written, text, accepted) in [
        ("/openai/v1/%6dodels", "/openai/v1/models", true),
        ("/w/acme//openai/v1", "/w/acme/openai/v1", false),
        ("/w/acme/openai/../v1", "/w/acme/openai/../v1", false),
        ("/w//acme/../v1", "/w//acme/../v1", false),
    ] {
        let path = RequestPath::read(written);
        assert_eq!(path.text, text);
        assert_eq!(path.checked.is_ok(), accepted, "{written}");
        assert_eq!(path.written, written);
    }
}

#[test]
fn a_path_has_one_reading_or_is_refused() {
    for (path, expected) in [
        ("/openai/v1/models", Some("/openai/v1/models")),
        ("/openai/v1/%6dodels", Some("/openai/v1/models")),
        (
            "/bedrock/model/a%3a0/converse",
            Some("/bedrock/model/a%3A0/converse"),
        ),
        ("/openai/v1/models/...", Some("/openai/v1/models/...")),
        ("/openai/../v1", None),
        ("/openai/%2e%2e/v1", None),
        ("/openai/.%2E/v1", None),
        ("/openai/./v1", None),
        ("/openai/v1/..", None),
        ("/bedrock/model/a%2fb/x", Some("/bedrock/model/a%2Fb/x")),
        ("/bedrock/model/a%2f..%2fb/x", None),
        ("/bedrock/model/a%2f%2e/x", None),
        ("/bedrock/model/%2f/x", None),
        ("/bedrock/model/a%2f/x", None),
        ("/bedrock/model/a%2f%2fb", None),
        ("/bedrock/model/a%2f", None),
        ("/openai/v1%5cmodels", None),
        ("/openai/v1\\models", None),
        ("/openai//v1", None),
        ("//openai/v1", None),
        ("/openai/v1;x=1/models", None),
        ("/openai/v1%3bmodels", None),
        ("/openai/v1/models/..%3f", None),
        ("/openai/v1/models/..%23x", None),
        ("/openai/%252e%252e/v1", None),
        ("/openai/%00", None),
        ("/openai/%0d%0a", None),
        ("/openai/%zz", None),
        ("/openai/%+2", None),
        ("/openai/%2", None),
        ("/openai/\u{e9}", None),
        ("*", None),
        ("", None),
    ] {
        assert_eq!(normalise(path).ok().as_deref(), expected, "{path}");
    }
}
