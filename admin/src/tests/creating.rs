//! Creating credentials, and the errors for invalid bodies.

use keyside_credentials::audit::Event;

use super::*;

#[tokio::test]
async fn a_created_credential_is_returned_without_its_secret() {
    let api = Api::with_workspace().await;
    let body = new_credential(json!({
        "environment": "sandbox", "usageTag": "ci-smoke", "expiresAt": in_days(90),
    }));
    let answer = api.post(CREDENTIALS, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let view = answer.json();
    let id = view["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("{CREDENTIALS}/{id}"));
    assert!(answer.header("etag").starts_with('"'));
    for (field, value) in [
        ("workspaceId", json!("acme")),
        ("provider", json!("openai")),
        ("label", json!("default")),
        ("environment", json!("sandbox")),
        ("status", json!("active")),
        ("usageTag", json!("ci-smoke")),
        ("expiresAt", body["expiresAt"].clone()),
        ("isDefault", json!(true)),
        ("endpoint", Value::Null),
        ("lastUsedAt", Value::Null),
        ("warnings", json!([])),
        ("hint", json!("sk-proj-…yzQ7")),
    ] {
        assert_eq!(view[field], value, "{field}");
    }
    assert!(view["fingerprint"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(view["versions"][0]["state"], "current");
    assert!(view.get("secret").is_none());
}

#[tokio::test]
async fn a_change_is_audited_with_its_request_id() {
    let api = Api::with_workspace().await;
    let answer = api.post(CREDENTIALS, &new_credential(json!({}))).await;
    let records = api.audit().await;
    let record = records.last().unwrap();
    assert_eq!(record.event, Event::CredentialCreated);
    assert_eq!(record.request_id, answer.header("x-keyside-request-id"));
    assert_ne!(record.actor.as_str(), "anonymous");
}

#[tokio::test]
async fn the_environment_defaults_to_live() {
    let api = Api::with_workspace().await;
    let answer = api.post(CREDENTIALS, &new_credential(json!({}))).await;
    assert_eq!(answer.json()["environment"], "live");
}

#[tokio::test]
async fn a_key_of_an_unusual_form_is_stored_with_a_warning() {
    let api = Api::with_workspace().await;
    let body = new_credential(json!({ "secret": "CanaryOfAnUnusualForm" }));
    let answer = api.post(CREDENTIALS, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.json()["warnings"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_of_another_provider_is_stored_with_a_warning_that_names_it() {
    let api = Api::with_workspace().await;
    let body = new_credential(json!({ "secret": "gsk_CanaryOfAnotherProvider01" }));
    let answer = api.post(CREDENTIALS, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let warnings = answer.json()["warnings"].to_string();
    assert!(warnings.contains("a key of Groq"), "{warnings}");
    for placeholder in [
        "$OPENAI_API_KEY",
        "YOUR_API_KEY",
        "sk-proj-EXAMPLE-EXAMPLE-EXAMPLE-EXAMPLE",
    ] {
        let body = new_credential(json!({ "secret": placeholder, "label": "other" }));
        let answer = api.post(CREDENTIALS, &body).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{placeholder}"
        );
        assert_eq!(answer.fields(), ["secret"], "{placeholder}");
    }
}

#[tokio::test]
async fn all_wrong_fields_are_named_at_once() {
    let api = Api::with_workspace().await;
    let body = json!({ "provider": 1, "label": "", "secret": "", "labels": [], "default": null });
    let answer = api.post(CREDENTIALS, &body).await;
    let mut fields = answer.fields();
    fields.sort();
    assert_eq!(
        fields,
        ["label", "labels", "provider", "secret", "workspaceId"]
    );
}

#[tokio::test]
async fn a_repeated_field_is_an_error() {
    let api = Api::with_workspace().await;
    let body = new_credential(json!({})).to_string();
    let twice = body.replacen('{', r#"{"label": "other", "#, 1);
    let answer = api.post_text(CREDENTIALS, twice).await;
    assert_eq!(answer.fields(), ["label"]);
}

#[tokio::test]
async fn a_body_that_is_not_a_json_object_is_malformed() {
    let api = Api::with_workspace().await;
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"text\"",
        "{} {}",
        "{\"a\":}",
        "{'a': 1}",
        "\u{feff}{}",
    ] {
        let answer = api.post_text(CREDENTIALS, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body:?}");
        assert_eq!(answer.kind(), "request-malformed");
    }
    let answer = api
        .post_text(CREDENTIALS, vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}'])
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_body_that_is_not_declared_as_json_is_refused() {
    let api = Api::with_workspace().await;
    let body = new_credential(json!({})).to_string();
    let form = "application/x-www-form-urlencoded";
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", form)],
        &[
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ],
    ] {
        let mut request = api.request("POST", CREDENTIALS);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = api.send_body(request, Body::from(body.clone())).await;
        assert_eq!(
            answer.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{headers:?}"
        );
    }
    let request = api
        .request("POST", CREDENTIALS)
        .header("content-type", "application/json; charset=utf-8");
    let answer = api.send_body(request, Body::from(body)).await;
    assert_eq!(answer.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_body_is_bounded() {
    let api = Api::with_workspace().await;
    let body = new_credential(json!({ "secret": "k".repeat(100_000) }));
    let answer = api.post(CREDENTIALS, &body).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let deep = format!(
        "{{\"label\": {}1{}}}",
        "[".repeat(30_000),
        "]".repeat(30_000)
    );
    let answer = api.post_text(CREDENTIALS, deep).await;
    assert!(answer.status.is_client_error());
}

#[tokio::test]
async fn a_misspelt_workspace_id_does_not_create_a_workspace() {
    let api = Api::with_workspace().await;
    let body = new_credential(json!({ "workspaceId": "acmee" }));
    let answer = api.post(CREDENTIALS, &body).await;
    assert_eq!(
        (answer.status, answer.kind().as_str()),
        (StatusCode::NOT_FOUND, "workspace-unknown")
    );
    assert_eq!(answer.fields(), ["workspaceId"]);
    let workspaces = api.get("/api/workspaces").await.json();
    assert_eq!(workspaces["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_taken_label_or_workspace_is_a_conflict() {
    let api = Api::with_workspace().await;
    api.post(CREDENTIALS, &new_credential(json!({}))).await;
    let again = api.post(CREDENTIALS, &new_credential(json!({}))).await;
    assert_eq!(
        (again.status, again.kind().as_str()),
        (StatusCode::CONFLICT, "label-taken")
    );
    assert_eq!(again.fields(), ["label"]);
    let credentials = api.get(CREDENTIALS).await.json();
    let id = credentials["items"][0]["id"].as_str().unwrap();
    api.delete(&format!("{CREDENTIALS}/{id}")).await;
    let replacement = api.post(CREDENTIALS, &new_credential(json!({}))).await;
    assert_eq!(replacement.status, StatusCode::CREATED);
    let again = api.post("/api/workspaces", &json!({ "id": "acme" })).await;
    assert_eq!(
        (again.status, again.kind().as_str()),
        (StatusCode::CONFLICT, "workspace-exists")
    );
}

#[tokio::test]
async fn an_endpoint_is_required_for_providers_with_one_per_customer() {
    let api = Api::with_workspace().await;
    let azure = |endpoint: Value| {
        new_credential(json!({ "provider": "azure-openai", "endpoint": endpoint }))
    };
    for wrong in [
        Value::Null,
        json!("https://attacker.test"),
        json!("http://acme.openai.azure.com"),
    ] {
        let answer = api.post(CREDENTIALS, &azure(wrong.clone())).await;
        assert_eq!(answer.fields(), ["endpoint"], "{wrong}");
    }
    let answer = api
        .post(CREDENTIALS, &azure(json!("https://acme.openai.azure.com")))
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_times_out() {
    let api = Api::with_workspace().await;
    let (mut sender, body) = http_body_util::channel::Channel::<axum::body::Bytes>::new(1);
    sender.send_data("{\"label\":".into()).await.unwrap();
    let request = api
        .request("POST", CREDENTIALS)
        .header("content-type", "application/json");
    let answer = api.send_body(request, Body::new(body)).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    drop(sender);
}
