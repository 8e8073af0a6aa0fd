//! Operations on a whole workspace or the whole installation.

use super::*;

/// `acme` with a key in it.
async fn with_key() -> Api {
    let api = Api::with_workspace().await;
    let key = json!({
        "workspaceId": "acme", "provider": "openai", "label": "a", "secret": SECRET,
    });
    let added = api.post(CREDENTIALS, &key).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    api
}

#[tokio::test]
async fn an_erased_workspace_gives_a_receipt_and_is_gone() {
    let api = with_key().await;
    let stale = api
        .send(
            api.request("DELETE", "/api/workspaces/acme")
                .header("if-match", "\"1-0\""),
        )
        .await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    let erased = api.delete("/api/workspaces/acme").await;
    assert_eq!(erased.status, StatusCode::OK, "{}", erased.body);
    let receipt: keyside_credentials::Receipt = serde_json::from_str(&erased.body).unwrap();
    api.registry.audit().confirm(&receipt).await.unwrap();
    assert_eq!((receipt.credentials, receipt.destroyed_keys.len()), (1, 1));
    assert_eq!(receipt.incarnation, 1);
    for gone in ["", "/export", "/rotate-key"] {
        let path = format!("/api/workspaces/acme{gone}");
        let answer = match gone {
            "" => api.get(&path).await,
            _ => api.post(&path, &json!({})).await,
        };
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let again = api.delete("/api/workspaces/acme").await;
    assert_eq!((again.status, again.body), (StatusCode::OK, erased.body));
    let never = api.delete("/api/workspaces/initech").await;
    assert_eq!(never.kind(), "workspace-unknown");
}

#[tokio::test]
async fn an_etag_of_an_erased_workspace_does_not_match_a_new_one_with_its_id() {
    let api = Api::with_workspace().await;
    let path = "/api/workspaces/acme";
    let seen = api.get(path).await.header("etag").to_owned();
    let with_tag = |method: &str, tag: &str| {
        let name = if method == "GET" {
            "if-none-match"
        } else {
            "if-match"
        };
        api.send(api.request(method, path).header(name, tag))
    };
    assert_eq!(api.delete(path).await.status, StatusCode::OK);
    let again = api.post("/api/workspaces", &json!({ "id": "acme" })).await;
    assert_eq!(again.status, StatusCode::CREATED);
    assert_ne!(again.header("etag"), seen);
    assert_eq!(with_tag("GET", &seen).await.status, StatusCode::OK);
    let late = with_tag("DELETE", &seen).await;
    assert_eq!(late.kind(), "precondition-failed", "{}", late.body);
    assert_eq!(api.get(path).await.status, StatusCode::OK);
    let erased = with_tag("DELETE", again.header("etag")).await;
    assert_eq!(erased.status, StatusCode::OK, "{}", erased.body);
}

/// On another machine, by someone who has nothing else of the installation's.
#[tokio::test]
async fn a_receipt_can_be_checked_with_the_public_key_alone() {
    let api = with_key().await;
    let answer = api.delete("/api/workspaces/acme").await;
    let receipt: keyside_credentials::Receipt = serde_json::from_str(&answer.body).unwrap();
    let key = api.get("/api/audit/key").await.json();
    assert_eq!(key["publicKey"], answer.json()["publicKey"]);
    let key = keyside_credentials::PublicKey::parse(key["publicKey"].as_str().unwrap());
    let key = key.unwrap();
    assert!(receipt.is_signed_by(&key));
    let mut other = receipt.clone();
    other.credentials += 1;
    assert!(!other.is_signed_by(&key));
    assert!(!receipt.is_signed_by(&[7u8; 32].into()));
    // The next one of its id is another one, and so is its receipt.
    let again = api.post("/api/workspaces", &json!({ "id": "acme" })).await;
    assert_eq!(again.status, StatusCode::CREATED, "{}", again.body);
    let next = api.delete("/api/workspaces/acme").await.json();
    assert_eq!(next["incarnation"], 2);
    assert_eq!(next["publicKey"], key.to_string());
}

#[tokio::test]
async fn only_an_unaltered_receipt_is_confirmed() {
    let api = with_key().await;
    let receipt = api.delete("/api/workspaces/acme").await.json();
    let confirmed = api.post("/api/audit/verify", &receipt).await.json();
    assert_eq!(confirmed, json!({ "confirmed": true, "finding": null }));
    let mut other = receipt.clone();
    other["workspace"] = json!("beta");
    let mut longer = receipt;
    longer["remark"] = json!("as agreed");
    for shown in [other, longer, json!({})] {
        let answer = api.post("/api/audit/verify", &shown).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.json()["confirmed"], false, "{shown}");
        assert!(answer.json()["finding"].is_string(), "{shown}");
    }
    let list = api.post("/api/audit/verify", &json!([])).await;
    assert_eq!(list.kind(), "request-malformed");
}

#[tokio::test]
async fn an_export_is_a_tar_archive_to_keep() {
    let api = with_key().await;
    let export = api.post("/api/workspaces/acme/export", &json!({})).await;
    assert_eq!(export.status, StatusCode::OK);
    assert_eq!(export.headers["content-type"], "application/x-tar");
    assert_eq!(
        export.headers["content-disposition"],
        "attachment; filename=\"acme.tar\""
    );
    assert!(export.body.contains("manifest.json"));
}

#[tokio::test]
async fn workspace_and_master_keys_are_rotated() {
    let api = with_key().await;
    let answer = api
        .post("/api/workspaces/acme/rotate-key", &json!({}))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(
        (&answer.json()["credentials"], &answer.json()["damaged"]),
        (&json!(1), &json!(0))
    );
    let answer = api.post("/api/master-key/rotate", &json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    // The installation's own, the one that signs, and two of acme.
    assert_eq!(answer.json()["keys"], 4);
    assert_ne!(answer.json()["masterKey"], answer.json()["previous"]);
    let listed = api.get(CREDENTIALS).await;
    assert_eq!(listed.json()["items"][0]["damaged"], false);
}

#[tokio::test]
async fn a_backup_is_one_file_that_can_be_checked() {
    let api = with_key().await;
    let request = api.request("POST", "/api/backup").body(Body::empty());
    let response = api.router.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "application/octet-stream"
    );
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let header = keyside_credentials::backup::check(file.path()).unwrap();
    assert!(header.id.starts_with("bak_"));
}
