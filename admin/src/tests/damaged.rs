//! Credentials whose stored records cannot be read.

use keyside_credentials::audit::Event;

use super::*;

/// An API with a credential whose record is gone, its path, and another one beside it.
async fn with_lost() -> (Api, String) {
    let api = Api::with_workspace().await;
    let id = api.post(CREDENTIALS, &new_credential(json!({}))).await.id();
    let other = new_credential(json!({ "label": "other" }));
    api.post(CREDENTIALS, &other).await;
    remove_record(&api, &id);
    (api.reopened().await, format!("{CREDENTIALS}/{id}"))
}

fn is_shown_as_lost(view: &Value, path: &str) {
    assert!(path.ends_with(view["id"].as_str().unwrap()), "{view}");
    assert_eq!(view["workspaceId"], "acme");
    assert_eq!(view["damaged"], true);
    for unknown in [
        "provider",
        "label",
        "environment",
        "createdAt",
        "createdBy",
        "traffic",
    ] {
        assert!(view[unknown].is_null(), "{unknown} of {view}");
    }
}

#[tokio::test]
async fn a_lost_credential_is_listed_with_null_fields() {
    let (api, path) = with_lost().await;
    let shown = api.get(&path).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.body);
    is_shown_as_lost(&shown.json(), &path);
    assert!(shown.json()["status"].is_null(), "{}", shown.body);
    let known = api
        .request("GET", &path)
        .header("if-none-match", shown.header("etag"));
    assert_eq!(api.send(known).await.status, StatusCode::NOT_MODIFIED);
    let first = api.get(&format!("{CREDENTIALS}?limit=1")).await.json();
    assert_eq!(first["items"][0]["label"], "other");
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = api
        .get(&format!("{CREDENTIALS}?limit=1&cursor={cursor}"))
        .await
        .json();
    is_shown_as_lost(&second["items"][0], &path);
    assert!(second["nextCursor"].is_null(), "{second}");
    let of_openai = api.get(&format!("{CREDENTIALS}?provider=openai")).await;
    let of_openai = of_openai.json();
    assert_eq!(of_openai["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_credential_can_be_revoked_and_not_changed() {
    let (api, path) = with_lost().await;
    let edit = api
        .request("PATCH", &path)
        .header("content-type", "application/json")
        .header("if-match", "*");
    let edited = api.send_body(edit, r#"{"label":"b"}"#.into()).await;
    let verified = api.post_text(&format!("{path}/verify"), "").await;
    for refused in [edited, verified] {
        assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.body);
        assert_eq!(refused.kind(), "record-damaged");
    }
    for _ in 0..2 {
        let revoked = api.delete(&path).await;
        assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.body);
        is_shown_as_lost(&revoked.json(), &path);
        assert_eq!(revoked.json()["status"], "revoked");
    }
    let records = api.audit().await;
    let revoked = records.iter();
    let revoked = revoked.filter(|record| record.event == Event::CredentialRevoked);
    assert_eq!(revoked.count(), 1);
    let listed = api.get(&format!("{CREDENTIALS}?status=active")).await;
    assert_eq!(listed.json()["items"][0]["label"], "other");
    let again = api.post(CREDENTIALS, &new_credential(json!({}))).await;
    assert_eq!(again.status, StatusCode::CREATED, "{}", again.body);
}

/// Removes the record of a credential from the store, as anyone who can write there could.
fn remove_record(api: &Api, credential: &str) {
    let begins = format!("{{\"id\":\"{credential}\"");
    // Each object begins with eight bytes of its own.
    let is_it = |object: &[u8]| {
        let record = object.get(8..).unwrap_or_default();
        record.starts_with(begins.as_bytes())
    };
    let mut contents = api.memory.contents();
    contents.objects.retain(|_, object| !is_it(object));
}
