//! Limits on spend, of credentials and of workspaces.

use keyside_credentials::audit::Event;

use super::*;

const ACME: &str = "/api/workspaces/acme";

async fn patch(api: &Api, path: &str, seen: Option<&str>, body: &Value) -> Answer {
    let mut request = api
        .request("PATCH", path)
        .header("content-type", "application/json");
    if let Some(seen) = seen {
        request = request.header("if-match", seen);
    }
    api.send_body(request, body.to_string().into()).await
}

async fn edited(api: &Api, path: &str, limits: Value) -> Value {
    let answer = patch(api, path, Some("*"), &json!({ "limits": limits })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.json()["limits"].clone()
}

#[tokio::test]
async fn limits_are_given_on_creation_and_changed_one_by_one() {
    let api = Api::with_workspace().await;
    let limits = json!({ "requestsPerDay": 10 });
    let made = api
        .post(CREDENTIALS, &new_credential(json!({ "limits": limits })))
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let view = made.json();
    assert_eq!(
        view["limits"],
        json!({ "requestsPerDay": 10, "tokensPerDay": null })
    );
    assert_eq!(
        view["usage"],
        json!({ "requestsToday": 0, "tokensToday": null, "state": "ok" })
    );
    let credential = made.header("location").to_owned();
    for path in [credential.as_str(), ACME] {
        edited(&api, path, json!({ "requestsPerDay": 20 })).await;
        assert_eq!(
            edited(&api, path, json!({ "tokensPerDay": 1_000_000_000_000_u64 })).await,
            json!({ "requestsPerDay": 20, "tokensPerDay": 1_000_000_000_000_u64 }),
            "{path}: an absent limit is kept"
        );
        assert_eq!(
            edited(&api, path, json!({ "requestsPerDay": null })).await,
            json!({ "requestsPerDay": null, "tokensPerDay": 1_000_000_000_000_u64 }),
            "{path}: null removes a limit"
        );
        assert_eq!(edited(&api, path, Value::Null).await, Value::Null, "{path}");
        let shown = api.get(path).await.json();
        assert_eq!(shown["usage"], Value::Null, "{path}: nothing is limited");
    }
}

#[tokio::test]
async fn a_limit_is_a_positive_number_of_bounded_size() {
    let api = Api::with_workspace().await;
    let made = api.post(CREDENTIALS, &new_credential(json!({}))).await;
    let credential = made.header("location").to_owned();
    for wrong in [
        json!({ "requestsPerDay": 0 }),
        json!({ "tokensPerDay": 0 }),
        json!({ "requestsPerDay": -1 }),
        json!({ "tokensPerDay": 1.5 }),
        json!({ "tokensPerDay": "10" }),
        json!({ "tokensPerDay": 1_000_000_000_001_u64 }),
        json!({ "tokensPerDay": 1e30 }),
        json!({ "tokensPerHour": 10 }),
        json!(10),
        json!([]),
    ] {
        let body = json!({ "limits": wrong });
        let new = new_credential(json!({ "label": "other", "limits": wrong }));
        for answer in [
            api.post(CREDENTIALS, &new).await,
            patch(&api, &credential, Some("*"), &body).await,
            patch(&api, ACME, Some("*"), &body).await,
        ] {
            let status = answer.status;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
            assert_eq!(answer.fields(), ["limits"], "{wrong}: {}", answer.body);
            assert!(answer.body.contains("1000000000000"), "{}", answer.body);
        }
    }
    let other = patch(&api, ACME, Some("*"), &json!({ "id": "beta" })).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_workspace_is_changed_only_in_the_state_that_was_seen() {
    let api = Api::with_workspace().await;
    let before = api.get(ACME).await;
    let seen = before.header("etag").to_owned();
    let body = json!({ "limits": { "requestsPerDay": 10 } });
    let blind = patch(&api, ACME, None, &body).await;
    assert_eq!(blind.status, StatusCode::PRECONDITION_REQUIRED);
    let changed = patch(&api, ACME, Some(&seen), &body).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    let shown = api.get(ACME).await;
    assert_eq!(shown.header("etag"), changed.header("etag"));
    assert_ne!(shown.header("etag"), seen);
    let stale = patch(&api, ACME, Some(&seen), &json!({ "limits": null })).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    let missing = patch(&api, "/api/workspaces/nobody", Some("*"), &body).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let records = api.audit().await;
    let edits = records
        .iter()
        .filter(|record| record.event == Event::WorkspaceEdited);
    assert_eq!(edits.count(), 1);
}

#[tokio::test]
async fn limits_survive_a_restart() {
    let api = Api::with_workspace().await;
    edited(&api, ACME, json!({ "tokensPerDay": 7 })).await;
    let api = api.reopened().await;
    let shown = api.get(ACME).await.json();
    assert_eq!(
        shown["limits"],
        json!({ "requestsPerDay": null, "tokensPerDay": 7 })
    );
}
