//! Requests without a valid token are refused and audited.

use std::time::Duration;

use http::Method;
use keyside_credentials::audit::Event;

use super::*;
use crate::routes;

#[tokio::test]
async fn no_route_answers_without_a_token() {
    let api = Api::open().await;
    let routes = routes::table().into_iter();
    let mut paths: Vec<_> = routes.map(|route| (route.method, route.path)).collect();
    paths.push((Method::GET, "/api/there-is-no-such-path".to_owned()));
    paths.push((Method::PUT, "/api/workspaces".to_owned()));
    for (method, path) in paths {
        let path = path.replace("{id}", "cred_aaaaaaaaaaaaaaaaaaaaaaaaaa");
        let answer = api.send(anonymous(method.as_str(), &path)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(answer.kind(), "unauthenticated");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
}

#[tokio::test]
async fn a_token_that_is_not_exactly_the_owners_opens_nothing() {
    let api = Api::open().await;
    let (token, half) = (api.token.clone(), &api.token[..api.token.len() / 2]);
    let wrong = [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {half}"),
        format!("Bearer {token}x"),
        format!("Bearer {} {token}", token),
        format!("Basic {token}"),
        token.clone(),
    ];
    for authorization in wrong {
        let request = anonymous("GET", "/api/workspaces").header("authorization", &authorization);
        let answer = api.send(request).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{authorization}");
        assert!(!answer.body.contains(half));
    }
    let twice = api
        .request("GET", "/api/workspaces")
        .header("authorization", "Bearer other");
    assert_eq!(api.send(twice).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_scheme_of_the_token_is_read_without_regard_to_case() {
    let api = Api::open().await;
    let authorization = format!("bearer {}", api.token);
    let request = anonymous("GET", "/api/workspaces").header("authorization", authorization);
    assert_eq!(api.send(request).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refusal_is_audited_with_its_request_id_before_the_response() {
    let api = Api::open().await;
    let refused = api.send(anonymous("GET", "/api/workspaces")).await;
    let records = api.audit().await;
    let record = records.last().unwrap();
    assert_eq!(record.event, Event::Refused);
    assert_eq!(record.actor.as_str(), "anonymous");
    assert_eq!(record.note.as_deref(), Some("unauthenticated"));
    assert_eq!(record.request_id, refused.header("x-keyside-request-id"));
}

#[tokio::test]
async fn repeated_refusals_do_not_fill_the_disk() {
    let api = Api::open().await;
    let before = api.audit().await.len();
    for _ in 0..200 {
        api.send(anonymous("GET", "/api/workspaces")).await;
    }
    assert_eq!(api.audit().await.len() - before, 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(65)).await;
    api.send(anonymous("GET", "/api/workspaces")).await;
    let note = api.audit().await.pop().unwrap().note.unwrap();
    assert_eq!(
        note,
        "unauthenticated; 199 more before this one, counted only"
    );
}

#[tokio::test]
async fn each_token_has_its_own_count_of_audited_refusals() {
    let api = Api::with_workspace().await;
    let new = json!({ "name": "CI", "role": "viewer", "workspaces": ["acme"] });
    let mut tokens = Vec::new();
    for _ in 0..2 {
        tokens.push(api.post("/api/tokens", &new).await.json());
    }
    for made in &tokens {
        for _ in 0..100 {
            api.send(anonymous("GET", "/api/workspaces")).await;
            let authorization = format!("Bearer {}", made["token"].as_str().unwrap());
            let probe = anonymous("GET", "/api/workspaces/beta");
            api.send(probe.header("authorization", authorization)).await;
        }
    }
    let records = api.audit().await;
    for made in &tokens {
        let theirs = records
            .iter()
            .filter(|record| made["id"] == record.actor.as_str());
        assert_eq!(theirs.count(), 20);
    }
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_problems_too() {
    let api = Api::open().await;
    let nowhere = api.get("/api/nowhere").await;
    assert_eq!(
        (nowhere.status, nowhere.kind().as_str()),
        (StatusCode::NOT_FOUND, "route-unknown")
    );
    let wrong = api.send(api.request("PUT", CREDENTIALS)).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.kind(), "method-not-allowed");
    assert!(
        wrong.header("allow").contains("POST"),
        "{:?}",
        wrong.headers
    );
}

#[tokio::test]
async fn a_client_that_should_call_the_proxy_is_told_its_address() {
    let api = Api::open().await;
    for (path, is_told) in [
        ("/openai/v1/chat/completions", true),
        ("/w/acme/anthropic/v1/messages", true),
        ("/v1/messages", true),
        ("/v1", false),
        ("/nowhere/v1", false),
        ("/api/v1/messages", false),
    ] {
        for method in ["GET", "POST"] {
            let told = api.send(anonymous(method, path)).await;
            assert_eq!(told.status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(told.header("www-authenticate").starts_with("Bearer"));
            let remedy = told.json()["remedy"].as_str().unwrap().to_owned();
            assert_eq!(
                remedy.contains("http://127.0.0.1:7380"),
                is_told,
                "{remedy}"
            );
        }
        let known = api.get(path).await;
        assert_eq!(known.kind(), "route-unknown");
        assert_eq!(known.body.contains("http://127.0.0.1:7380"), is_told);
    }
}

#[tokio::test]
async fn a_request_out_of_scope_is_audited_with_its_actor() {
    let api = Api::with_workspace().await;
    let new = json!({ "name": "CI", "role": "viewer", "workspaces": ["acme"] });
    let made = api.post("/api/tokens", &new).await.json();
    let authorization = format!("Bearer {}", made["token"].as_str().unwrap());
    for path in ["/api/workspaces/beta", "/api/tokens"] {
        let request = anonymous("GET", path).header("authorization", &authorization);
        let answer = api.send(request).await;
        let record = api.audit().await.pop().unwrap();
        assert_eq!(record.event, Event::Refused, "{path}");
        assert_eq!(record.actor.as_str(), made["id"].as_str().unwrap());
        assert_eq!(record.note, Some(answer.kind()));
    }
}

#[tokio::test]
async fn a_change_whose_token_is_revoked_while_its_body_arrives_is_not_made() {
    let api = Api::open().await;
    let new = json!({ "name": "CI", "role": "owner" });
    let made = api.post("/api/tokens", &new).await.json();
    let authorization = format!("Bearer {}", made["token"].as_str().unwrap());
    let (mut sender, body) = http_body_util::channel::Channel::<axum::body::Bytes>::new(1);
    let request = anonymous("POST", "/api/workspaces")
        .header("authorization", &authorization)
        .header("content-type", "application/json")
        .body(Body::new(body))
        .unwrap();
    let answering = tokio::spawn(api.router.clone().oneshot(request));
    sender.send_data("{\"id\":".into()).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let id = made["id"].as_str().unwrap();
    let revoked = api.delete(&format!("/api/tokens/{id}")).await;
    assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.body);
    sender.send_data("\"late\"}".into()).await.unwrap();
    drop(sender);
    let answer = answering.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let late = api.get("/api/workspaces/late").await;
    assert_eq!(late.kind(), "workspace-unknown");
}
