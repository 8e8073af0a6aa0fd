//! Single resources: entity tags and revocation.

use super::*;

async fn stored(api: &Api) -> (String, Answer) {
    let made = api.post(CREDENTIALS, &new_credential(json!({}))).await;
    let path = made.header("location").to_owned();
    (path, made)
}

#[tokio::test]
async fn an_etag_is_stable_and_answers_304() {
    let api = Api::with_workspace().await;
    let (path, made) = stored(&api).await;
    let read = api.get(&path).await;
    assert_eq!(read.header("etag"), made.header("etag"));
    let again = api
        .request("GET", &path)
        .header("if-none-match", read.header("etag"));
    let again = api.send(again).await;
    assert_eq!(
        (again.status, again.body.as_str()),
        (StatusCode::NOT_MODIFIED, "")
    );
    api.delete(&path).await;
    let changed = api
        .request("GET", &path)
        .header("if-none-match", read.header("etag"));
    assert_eq!(api.send(changed).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_revoked_credential_stays_listed_as_revoked() {
    let api = Api::with_workspace().await;
    let (path, _) = stored(&api).await;
    let revoked = api.delete(&path).await;
    assert_eq!(
        (revoked.status, &revoked.json()["status"]),
        (StatusCode::OK, &json!("revoked"))
    );
    assert_eq!(api.get(&path).await.json()["status"], "revoked");
    assert_eq!(
        api.delete(&path).await.status,
        StatusCode::OK,
        "revoking twice changes nothing"
    );
    let list = api.get(CREDENTIALS).await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_change_with_an_outdated_etag_is_refused() {
    let api = Api::with_workspace().await;
    let (path, made) = stored(&api).await;
    for stale in ["\"999-0000000000000000\"", "\"x\"", "W/\"1-0\""] {
        let request = api.request("DELETE", &path).header("if-match", stale);
        let answer = api.send(request).await;
        assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED, "{stale}");
    }
    assert_eq!(api.get(&path).await.json()["status"], "active");
    let request = api
        .request("DELETE", &path)
        .header("if-match", made.header("etag"));
    assert_eq!(api.send(request).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_id_and_a_malformed_one_get_the_same_answer() {
    let api = Api::with_workspace().await;
    let absent = format!("{CREDENTIALS}/cred_aaaaaaaaaaaaaaaaaaaaaaaaaa");
    let pasted = format!("{CREDENTIALS}/{SECRET}");
    for path in [absent, pasted, format!("{CREDENTIALS}/%2e%2e")] {
        for method in ["GET", "DELETE"] {
            let answer = api.send(api.request(method, &path)).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
            assert_eq!(answer.kind(), "credential-unknown");
        }
    }
    let no_text = api.get(&format!("{CREDENTIALS}/%ff")).await;
    assert_eq!(no_text.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_workspace_can_be_read_by_itself() {
    let api = Api::with_workspace().await;
    let answer = api.get("/api/workspaces/acme").await;
    assert_eq!(answer.json()["name"], "acme");
    assert!(!answer.header("etag").is_empty());
    assert_eq!(
        api.get("/api/workspaces/other").await.kind(),
        "workspace-unknown"
    );
}

#[tokio::test]
async fn a_parameter_that_a_path_does_not_have_is_refused_and_nothing_is_changed() {
    let api = Api::with_workspace().await;
    let (path, _) = stored(&api).await;
    let before = api.everything().await;
    for (method, path) in [
        ("DELETE", "/api/workspaces/acme"),
        ("POST", "/api/workspaces/acme/rotate-key"),
        ("GET", "/api/workspaces/acme"),
        ("GET", "/api/audit/key"),
        ("DELETE", path.as_str()),
    ] {
        let answer = api.request(method, &format!("{path}?dryRun=true"));
        let answer = api.send(answer).await;
        assert_eq!(answer.kind(), "fields-invalid", "{method} {path}");
        assert_eq!(answer.fields(), ["(unknown parameter)"], "{method} {path}");
    }
    assert_eq!(api.everything().await, before);
}
