//! Changes to a stored credential: rotation, rollback, edit and revocation.

use keyside_credentials::audit::Event;

use super::*;

/// What is sent for a key, and the path that it is stored at.
async fn stored(api: &Api, other: Value) -> String {
    let made = api.post(CREDENTIALS, &new_credential(other)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    made.header("location").to_owned()
}

async fn send(
    api: &Api,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let json = ("content-type", "application/json");
    let mut request = api.request(method, path);
    for (name, value) in headers.iter().chain([&json]) {
        request = request.header(*name, *value);
    }
    api.send_body(request, body.to_string().into()).await
}

/// A change to whatever state it is in.
async fn patch(api: &Api, path: &str, body: Value) -> Answer {
    send(api, "PATCH", path, &[("if-match", "*")], &body).await
}

fn states(view: &Value) -> Vec<&str> {
    let versions = view["versions"].as_array().unwrap().iter();
    versions
        .map(|version| version["state"].as_str().unwrap())
        .collect()
}

const NEXT: &str = "sk-proj-CanaryOfTheNextOneToCome0123456789abcdefghijklmnopqrstu";

#[tokio::test]
async fn a_new_secret_rotates_and_can_be_rolled_back() {
    let api = Api::with_workspace().await;
    let path = stored(&api, json!({})).await;
    let rotated = patch(&api, &path, json!({ "secret": NEXT, "graceSeconds": 60 })).await;
    assert_eq!(rotated.status, StatusCode::OK, "{}", rotated.body);
    let view = rotated.json();
    assert_eq!(states(&view), ["grace", "current"]);
    assert!(view["lastRotatedAt"].is_string() && view["versions"][0]["graceUntil"].is_string());
    assert_eq!(view["hint"], "sk-proj-…rstu");
    let back = format!("{path}/rollback");
    let any = [("if-match", "*")];
    let back = send(&api, "POST", &back, &any, &json!({ "version": 1 })).await;
    assert_eq!(states(&back.json()), ["current", "grace"]);
    assert_eq!(back.json()["hint"], "sk-proj-…yzQ7");
    let records = api.audit().await;
    let events: Vec<_> = records
        .iter()
        .rev()
        .take(2)
        .map(|record| record.event)
        .collect();
    assert_eq!(
        events,
        [Event::CredentialRolledBack, Event::CredentialRotated]
    );
}

#[tokio::test]
async fn a_rollback_needs_no_body() {
    let api = Api::with_workspace().await;
    let path = stored(&api, json!({})).await;
    patch(&api, &path, json!({ "secret": NEXT })).await;
    let back = api.request("POST", &format!("{path}/rollback"));
    let back = api.send(back.header("if-match", "*")).await;
    assert_eq!(back.status, StatusCode::OK, "{}", back.body);
    assert_eq!(states(&back.json()), ["current", "grace"]);
}

#[tokio::test]
async fn without_grace_there_is_no_rollback() {
    let api = Api::with_workspace().await;
    let path = stored(&api, json!({})).await;
    let rotated = patch(&api, &path, json!({ "secret": NEXT, "graceSeconds": 0 })).await;
    assert_eq!(states(&rotated.json()), ["destroyed", "current"]);
    let back = format!("{path}/rollback");
    let any = [("if-match", "*")];
    let nothing = send(&api, "POST", &back, &any, &json!({})).await;
    assert_eq!(
        (nothing.status, nothing.kind().as_str()),
        (StatusCode::CONFLICT, "nothing-in-grace")
    );
    let gone = send(&api, "POST", &back, &any, &json!({ "version": 1 })).await;
    assert_eq!(
        (gone.status, gone.fields()),
        (StatusCode::UNPROCESSABLE_ENTITY, vec!["version".into()])
    );
}

#[tokio::test]
async fn metadata_is_edited_and_null_removes_a_value() {
    let api = Api::with_workspace().await;
    let path = stored(&api, json!({ "expiresAt": in_days(9) })).await;
    let edit = json!({ "label": "QA Sandbox", "usageTag": "ci-smoke", "expiresAt": in_days(90) });
    let edited = patch(&api, &path, edit.clone()).await.json();
    for (field, value) in edit.as_object().unwrap() {
        assert_eq!(edited[field], *value, "{field}");
    }
    let cleared = patch(&api, &path, json!({ "usageTag": null, "expiresAt": null }))
        .await
        .json();
    assert_eq!(
        (
            &cleared["usageTag"],
            &cleared["expiresAt"],
            &cleared["label"]
        ),
        (&Value::Null, &Value::Null, &json!("QA Sandbox"))
    );
    assert_eq!(
        api.audit().await.last().unwrap().note.as_deref(),
        Some("usageTag, expiresAt")
    );
}

#[tokio::test]
async fn a_change_requires_if_match_and_the_second_of_two_fails() {
    let api = Api::with_workspace().await;
    let path = stored(&api, json!({})).await;
    let rollback = format!("{path}/rollback");
    for (method, path, body) in [
        ("PATCH", &path, json!({ "label": "blind" })),
        ("PATCH", &path, json!({ "secret": NEXT })),
        ("POST", &rollback, json!({})),
    ] {
        let blind = send(&api, method, path, &[], &body).await;
        assert_eq!(
            blind.status,
            StatusCode::PRECONDITION_REQUIRED,
            "{method} {path}"
        );
    }
    let seen = api.get(&path).await.header("etag").to_owned();
    let seen = [("if-match", seen.as_str())];
    let first = send(&api, "PATCH", &path, &seen, &json!({ "label": "first" })).await;
    assert_eq!(first.status, StatusCode::OK);
    let second = send(&api, "PATCH", &path, &seen, &json!({ "label": "second" })).await;
    assert_eq!(second.status, StatusCode::PRECONDITION_FAILED);
    let rotation = send(&api, "PATCH", &path, &seen, &json!({ "secret": NEXT })).await;
    assert_eq!(rotation.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(api.get(&path).await.json()["label"], "first");
    let next = [("if-match", first.header("etag"))];
    let third = send(&api, "PATCH", &path, &next, &json!({ "label": "third" })).await;
    assert_eq!(third.status, StatusCode::OK);
}

#[tokio::test]
async fn if_match_may_list_several_entity_tags() {
    let api = Api::with_workspace().await;
    let path = stored(&api, json!({})).await;
    let first = api.get(&path).await.header("etag").to_owned();
    let edited = patch(&api, &path, json!({ "label": "first" })).await;
    let both = format!("{}, {first}", edited.header("etag"));
    let seen = [("if-match", both.as_str())];
    let current = send(&api, "PATCH", &path, &seen, &json!({ "label": "second" })).await;
    assert_eq!(current.status, StatusCode::OK, "{}", current.body);
    let stale = send(&api, "PATCH", &path, &seen, &json!({ "label": "third" })).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn a_retry_with_an_idempotency_key_gets_the_same_response() {
    let api = Api::with_workspace().await;
    let once = |key| [("idempotency-key", key), ("if-match", "*")];
    let create = new_credential(json!({}));
    let first = send(&api, "POST", CREDENTIALS, &once("create"), &create).await;
    let again = send(&api, "POST", CREDENTIALS, &once("create"), &create).await;
    assert_eq!(
        (again.status, &again.body),
        (StatusCode::CREATED, &first.body)
    );
    let other = new_credential(json!({ "label": "other" }));
    let other = send(&api, "POST", CREDENTIALS, &once("create"), &other).await;
    assert_eq!(
        (other.status.as_u16(), other.kind().as_str()),
        (422, "idempotency-key-reused")
    );
    let path = first.header("location");
    let rotation = json!({ "secret": NEXT });
    let seen = [
        ("idempotency-key", "rotate"),
        ("if-match", first.header("etag")),
    ];
    let rotated = send(&api, "PATCH", path, &seen, &rotation).await;
    let again = send(&api, "PATCH", path, &seen, &rotation).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &rotated.body));
    let records = api.audit().await;
    let made = records.iter().filter(|record| {
        matches!(
            record.event,
            Event::CredentialCreated | Event::CredentialRotated
        )
    });
    assert_eq!(made.count(), 2);
}

#[tokio::test]
async fn a_revocation_can_cut_requests_in_flight_and_prevents_changes() {
    let api = Api::with_workspace().await;
    let path = stored(&api, json!({})).await;
    let wrong = api.delete(&format!("{path}?cut=maybe")).await;
    assert_eq!(
        (wrong.status.is_client_error(), wrong.fields()),
        (true, vec!["cut".into()])
    );
    let resolver = api.registry.resolver();
    let grant = resolver
        .resolve(&keyside_credentials::CredentialQuery {
            workspace: "acme",
            provider: "openai",
            label: None,
            environment: None,
            pin: keyside_config::EnvironmentPin::Any,
        })
        .unwrap();
    let revoked = api.delete(&format!("{path}?cut=true")).await;
    assert_eq!(
        (&revoked.json()["status"], states(&revoked.json())),
        (&json!("revoked"), vec!["destroyed"])
    );
    grant.cut().await;
    for body in [json!({ "secret": NEXT }), json!({ "label": "other" })] {
        let refused = patch(&api, &path, body).await;
        assert_eq!(
            (refused.status, refused.kind().as_str()),
            (StatusCode::CONFLICT, "credential-revoked")
        );
    }
}

#[tokio::test]
async fn a_secret_that_is_stored_twice_names_its_duplicates() {
    let api = Api::with_workspace().await;
    let made = api
        .post("/api/workspaces", &json!({ "id": "globex" }))
        .await;
    assert_eq!(made.status, StatusCode::CREATED);
    let path = stored(&api, json!({})).await;
    assert_eq!(api.get(&path).await.json()["duplicates"], json!([]));
    let twin = new_credential(json!({ "workspaceId": "globex", "label": "twin" }));
    let twin = api.post(CREDENTIALS, &twin).await.json();
    let duplicate = &twin["duplicates"][0];
    assert_eq!(
        (&duplicate["workspaceId"], &duplicate["label"]),
        (&json!("acme"), &json!("default"))
    );
    assert_eq!(
        api.get(&path).await.json()["duplicates"][0]["id"],
        twin["id"]
    );
    assert_eq!(duplicate["status"], "active");
    assert_eq!(
        api.get(CREDENTIALS).await.json()["items"][0]["duplicates"],
        Value::Null
    );
    // Storing a secret again that was revoked, because it leaked for example, is told apart.
    assert_eq!(api.delete(&path).await.status, StatusCode::OK);
    let twin = format!("{CREDENTIALS}/{}", twin["id"].as_str().unwrap());
    let again = api.get(&twin).await;
    assert_eq!(again.json()["duplicates"][0]["status"], "revoked");
}

#[tokio::test]
async fn an_optional_if_match_is_checked() {
    let api = Api::with_workspace().await;
    let id = api.post(CREDENTIALS, &new_credential(json!({}))).await.id();
    let credential = format!("{CREDENTIALS}/{id}");
    let workspace = "/api/workspaces/acme".to_owned();
    for (resource, act) in [
        (&credential, "verify"),
        (&workspace, "export"),
        (&workspace, "rotate-key"),
    ] {
        let path = format!("{resource}/{act}");
        let known = api.get(resource).await;
        let with = |tag: &str| api.request("POST", &path).header("if-match", tag);
        let before = api.everything().await;
        let stale = api
            .send(with("\"1-00000000000000aa-0123456789abcdef\""))
            .await;
        assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED, "{act}");
        assert_eq!(api.everything().await, before, "{act}");
        for tag in [known.header("etag"), "*"] {
            let answer = api.send(with(tag)).await;
            assert_eq!(answer.status, StatusCode::OK, "{act}: {}", answer.body);
        }
    }
}
