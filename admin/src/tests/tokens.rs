//! Tokens: created, limited, revoked.

use super::*;

const TOKENS: &str = "/api/tokens";

fn bearer(method: &str, path: &str, token: &Value) -> http::request::Builder {
    let authorization = format!("Bearer {}", token["token"].as_str().unwrap());
    anonymous(method, path).header("authorization", authorization)
}

async fn made(api: &Api, new: Value) -> Value {
    let answer = api.post(TOKENS, &new).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    answer.json()
}

#[tokio::test]
async fn the_text_of_a_token_is_returned_once() {
    let api = Api::with_workspace().await;
    let new = json!({ "name": "CI of Robin", "role": "editor", "workspaces": ["acme"] });
    let answer = api.post(TOKENS, &new).await;
    let token = answer.json();
    let text = token["token"].as_str().unwrap();
    assert!(text.starts_with("ks_") && text.len() == 46, "{text}");
    assert_eq!(token["workspaces"], json!(["acme"]));
    assert_eq!(token["status"], "active");
    let path = answer.header("location");
    let (one, all) = (api.get(path).await, api.get(TOKENS).await);
    assert!(!one.body.contains(text) && !all.body.contains(text));
    assert_eq!(one.json()["name"], "CI of Robin");
    let audit = format!("{:?}", api.audit().await);
    assert!(audit.contains(token["id"].as_str().unwrap()));
    assert!(!audit.contains(text) && !audit.contains("Robin"), "{audit}");
}

#[tokio::test]
async fn a_token_that_would_outlive_its_creator_is_shortened_with_a_warning() {
    let api = Api::open().await;
    let end = "2099-01-01T00:00:00Z";
    let ends = json!({ "name": "one", "role": "owner", "expiresAt": end });
    let maker = made(&api, ends).await;
    assert_eq!(maker["warnings"], json!([]));
    let request = bearer("POST", TOKENS, &maker).header("content-type", "application/json");
    let new = json!({ "name": "two", "role": "viewer" });
    let shorter = api.send_body(request, new.to_string().into()).await.json();
    assert_eq!(shorter["expiresAt"], end);
    let warning = shorter["warnings"][0].as_str().unwrap();
    assert!(warning.contains(end), "{warning}");
}

#[tokio::test]
async fn a_token_works_until_it_is_revoked_and_stays_listed() {
    let api = Api::open().await;
    let token = made(&api, json!({ "name": "CI", "role": "viewer" })).await;
    let path = format!("{TOKENS}/{}", token["id"].as_str().unwrap());
    assert_eq!(api.get(&path).await.json()["lastUsedAt"], Value::Null);
    let used = api.send(bearer("GET", "/api/workspaces", &token)).await;
    assert_eq!(used.status, StatusCode::OK);
    assert!(api.get(&path).await.json()["lastUsedAt"].is_string());
    for _ in 0..2 {
        let revoked = api.delete(&path).await;
        assert_eq!(revoked.json()["status"], "revoked", "{}", revoked.body);
    }
    let refused = api.send(bearer("GET", "/api/workspaces", &token)).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(api.get(&path).await.json()["status"], "revoked");
}

#[tokio::test]
async fn the_last_token_that_owns_everything_cannot_be_revoked() {
    let api = Api::with_workspace().await;
    made(
        &api,
        json!({ "name": "of acme", "role": "owner", "workspaces": ["acme"] }),
    )
    .await;
    let first = api.get(TOKENS).await.json()["items"][0]["id"].clone();
    let first = format!("{TOKENS}/{}", first.as_str().unwrap());
    assert_eq!(api.delete(&first).await.kind(), "last-owner");
    made(&api, json!({ "name": "another", "role": "owner" })).await;
    assert_eq!(api.delete(&first).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_limited_owner_manages_only_tokens_within_its_scope() {
    let api = Api::with_workspace().await;
    api.post("/api/workspaces", &json!({ "id": "beta" })).await;
    let owner = made(
        &api,
        json!({ "name": "acme's", "role": "owner", "workspaces": ["acme"] }),
    )
    .await;
    let give = async |new: Value| {
        let request = bearer("POST", TOKENS, &owner).header("content-type", "application/json");
        api.send_body(request, new.to_string().into()).await
    };
    let own = give(json!({ "name": "CI", "role": "viewer", "workspaces": ["acme"] })).await;
    assert_eq!(own.status, StatusCode::CREATED, "{}", own.body);
    let everything = give(json!({ "name": "CI", "role": "viewer" })).await;
    assert_eq!(everything.fields(), ["workspaces"]);
    let foreign =
        give(json!({ "name": "CI", "role": "viewer", "workspaces": ["acme", "beta"] })).await;
    let nowhere =
        give(json!({ "name": "CI", "role": "viewer", "workspaces": ["acme", "gamma"] })).await;
    for refused in [&foreign, &nowhere] {
        assert_eq!(refused.status, StatusCode::NOT_FOUND);
        assert_eq!(refused.fields(), ["workspaces"]);
    }
    let seen = api.send(bearer("GET", TOKENS, &owner)).await.json();
    let names = seen["items"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|token| token["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["acme's", "CI"]);
}

#[tokio::test]
async fn tokens_are_read_page_by_page() {
    let api = Api::open().await;
    for name in ["one", "two", "three"] {
        made(&api, json!({ "name": name, "role": "viewer" })).await;
    }
    let first = api.get(&format!("{TOKENS}?limit=3")).await.json();
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = api
        .get(&format!("{TOKENS}?limit=3&cursor={cursor}"))
        .await
        .json();
    assert_eq!(second["items"][0]["name"], "three");
    assert_eq!(second["nextCursor"], Value::Null);
}
