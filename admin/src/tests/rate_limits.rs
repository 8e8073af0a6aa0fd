//! Which rate limit a request counts against.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use keyside_credentials::audit::Event;

use super::{secrecy::Lines, *};

const WORKSPACES: &str = "/api/workspaces";

async fn spend_the_address(api: &Api) {
    for _ in 0..100 {
        if api.send(anonymous("GET", WORKSPACES)).await.kind() == "too-many-requests" {
            return;
        }
    }
    panic!("the address has no end of a budget");
}

#[tokio::test]
async fn an_address_at_its_rate_limit_does_not_block_a_valid_token() {
    let api = Api::slow().await;
    spend_the_address(&api).await;
    assert_eq!(api.get(WORKSPACES).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_page_of_another_site_does_not_count_against_a_rate_limit() {
    let api = Api::slow().await;
    for _ in 0..10 {
        let page = api
            .request("GET", WORKSPACES)
            .header("sec-fetch-site", "cross-site");
        assert_eq!(api.send(page).await.kind(), "browser-not-allowed");
    }
    let unknown = api.send(anonymous("GET", WORKSPACES)).await;
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED);
    assert_eq!(api.get(WORKSPACES).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_has_a_rate_limit_of_its_own() {
    let api = Api::slow().await;
    let mut spent = false;
    for _ in 0..100 {
        let answer = api.get(WORKSPACES).await;
        spent |= answer.status == StatusCode::TOO_MANY_REQUESTS;
    }
    assert!(spent);
    let unknown = api.send(anonymous("GET", WORKSPACES)).await;
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn invalid_tokens_are_rate_limited_and_audited() {
    let api = Api::open().await;
    guess_till_refused(&api).await;
    let waiting = api.send(guess()).await;
    assert_eq!(waiting.kind(), "too-many-requests");
    let seconds: u64 = waiting.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn invalid_tokens_from_an_address_do_not_block_valid_tokens_there() {
    let api = Api::open().await;
    guess_till_refused(&api).await;
    for _ in 0..20 {
        assert_eq!(api.get(WORKSPACES).await.status, StatusCode::OK);
        let nothing_shown = api.send(anonymous("GET", WORKSPACES)).await;
        assert_eq!(nothing_shown.kind(), "unauthenticated");
    }
}

/// A revoked token is as wrong as one that never was.
#[tokio::test]
async fn a_revoked_token_counts_as_an_invalid_token() {
    let api = Api::open().await;
    let new = json!({ "name": "CI", "role": "viewer" });
    let made = api.post("/api/tokens", &new).await.json();
    let id = made["id"].as_str().unwrap();
    api.delete(&format!("/api/tokens/{id}")).await;
    let authorization = format!("Bearer {}", made["token"].as_str().unwrap());
    let request = || anonymous("GET", WORKSPACES).header("authorization", &authorization);
    for _ in 0..10 {
        assert_eq!(api.send(request()).await.kind(), "unauthenticated");
    }
    assert_eq!(api.send(request()).await.kind(), "too-many-requests");
}

/// Whatever is wrong with the caller is answered without a byte of a body that may never come.
#[tokio::test]
async fn authentication_and_rate_limits_come_before_the_body() {
    let api = Api::slow().await;
    let new = json!({ "name": "CI", "role": "viewer" });
    let viewer = api.post("/api/tokens", &new).await.json();
    let viewer = format!("Bearer {}", viewer["token"].as_str().unwrap());
    for (authorization, kind) in [
        (None, "unauthenticated"),
        (Some("Bearer ks_guess"), "unauthenticated"),
        (Some(&*viewer), "permission-denied"),
    ] {
        let answer = api.send_endless(authorization).await;
        assert_eq!(answer.kind(), kind, "{authorization:?}");
    }
    for authorization in [None, Some(&*viewer)] {
        let mut kinds = Vec::new();
        for _ in 0..100 {
            kinds.push(api.send_endless(authorization).await.kind());
        }
        let spent = kinds.iter().filter(|kind| *kind == "too-many-requests");
        assert!(spent.count() > 0, "{authorization:?}: {kinds:?}");
    }
}

/// 10/8 is trusted.
#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_a_budget_and_is_named_in_the_log() {
    let lines = Lines::default();
    let _logged = lines.collect();
    let api = Api::slow().await;
    let first = async |peer: &str, forwarded: &str| {
        let peer: SocketAddr = peer.parse().unwrap();
        let request = anonymous("GET", WORKSPACES)
            .extension(ConnectInfo(peer))
            .header("x-forwarded-for", forwarded);
        api.send(request).await.kind()
    };
    let spend = async |peer: &str, forwarded: &str| {
        for _ in 0..100 {
            if first(peer, forwarded).await == "too-many-requests" {
                return true;
            }
        }
        false
    };
    assert!(spend("10.0.0.1:1", "192.0.2.1").await);
    assert_eq!(first("10.0.0.1:2", "192.0.2.2").await, "unauthenticated");
    // The same client, whatever it claims and whichever proxy it comes through.
    let claimed = first("10.0.0.2:1", "192.0.2.3, 192.0.2.1").await;
    assert_eq!(claimed, "too-many-requests");
    // Not a proxy: it chooses nobody's budget but its own.
    assert!(spend("198.51.100.1:1", "192.0.2.4").await);
    let claimed = first("198.51.100.1:2", "192.0.2.5").await;
    assert_eq!(claimed, "too-many-requests");
    let log = lines.text();
    assert!(log.contains("client=192.0.2.1 "), "{log}");
    assert!(log.contains("client=198.51.100.1 "), "{log}");
    assert!(
        !log.contains("192.0.2.3") && !log.contains("192.0.2.4"),
        "{log}"
    );
}

fn guess() -> http::request::Builder {
    anonymous("GET", WORKSPACES).header("authorization", "Bearer ks_guess")
}

/// Sends as many wrong tokens as one address may send. The refusals are audited.
async fn guess_till_refused(api: &Api) {
    for _ in 0..10 {
        assert_eq!(api.send(guess()).await.status, StatusCode::UNAUTHORIZED);
    }
    let records = api.audit().await;
    let refused = records
        .iter()
        .filter(|record| record.event == Event::Refused);
    assert_eq!(refused.count(), 1);
}

impl Api {
    /// A change whose body does not come as long as its answer has not.
    async fn send_endless(&self, authorization: Option<&str>) -> Answer {
        let (_sender, body) = http_body_util::channel::Channel::<axum::body::Bytes>::new(1);
        let request = anonymous("POST", CREDENTIALS).header("content-type", "application/json");
        let request = match authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        };
        self.send_body(request, Body::new(body)).await
    }
}

#[tokio::test]
async fn exports_with_a_token_write_at_most_20_records_a_minute() {
    let api = Api::with_workspace().await;
    let ids: Vec<_> = (0..21).map(|n| format!("site-{n}")).collect();
    for id in &ids {
        api.post("/api/workspaces", &json!({ "id": id })).await;
    }
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let path = "/api/audit/export";
    let exports = async || {
        let records = api.audit().await.into_iter();
        let exports = records.filter(|record| record.event == Event::AuditExported);
        exports.count()
    };
    let owner = api.owner_of(&ids).await;
    let refused = api.send(owner("GET", path)).await;
    assert_eq!(refused.kind(), "fields-invalid", "{}", refused.body);
    assert!(refused.body.contains("workspaceId"), "{}", refused.body);
    assert_eq!(exports().await, 0);
    let of_one = format!("{path}?workspaceId=site-0");
    assert_eq!(api.send(owner("GET", &of_one)).await.status, StatusCode::OK);
    assert_eq!(exports().await, 1);
    // Another token.
    let owner = api.owner_of(&ids[..15]).await;
    assert_eq!(api.send(owner("GET", path)).await.status, StatusCode::OK);
    let refused = api.send(owner("GET", path)).await;
    assert_eq!(refused.kind(), "too-many-requests", "{}", refused.body);
    assert_eq!(exports().await, 16);
    // Of the owner of everything each is one record.
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(api.get(path).await.status);
    }
    assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS));
    let made = statuses.iter().filter(|it| **it == StatusCode::OK).count();
    assert!(made >= 20, "{made}");
    assert_eq!(exports().await, 16 + made);
}

#[tokio::test]
async fn refusals_and_exports_of_a_token_share_20_records_a_minute() {
    let api = Api::with_workspace().await;
    let owner = api.owner_of(&["acme"]).await;
    let before = api.audit().await.len();
    for _ in 0..15 {
        let foreign = owner("GET", "/api/audit?workspaceId=nowhere");
        assert_eq!(api.send(foreign).await.kind(), "workspace-unknown");
    }
    let export = || owner("GET", "/api/audit/export");
    for _ in 0..5 {
        assert_eq!(api.send(export()).await.status, StatusCode::OK);
    }
    for _ in 0..5 {
        let refused = api.send(export()).await;
        assert_eq!(refused.kind(), "too-many-requests", "{}", refused.body);
        let seconds: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=66).contains(&seconds), "{seconds}");
    }
    assert_eq!(api.audit().await.len() - before, 20);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(65)).await;
    assert_eq!(api.send(export()).await.status, StatusCode::OK);
}

/// Otherwise a limited token that creates a thousand others has a thousand times the allowance.
#[tokio::test]
async fn tokens_that_come_from_one_limited_token_share_20_records_a_minute() {
    let api = Api::with_workspace().await;
    let owner = api.owner_of(&["acme"]).await;
    let new = json!({ "name": "another", "role": "viewer", "workspaces": ["acme"] });
    let request = owner("POST", "/api/tokens").header("content-type", "application/json");
    let made = api.send_body(request, new.to_string().into()).await.json();
    let authorization = format!("Bearer {}", made["token"].as_str().unwrap());
    let foreign = "/api/audit?workspaceId=nowhere";
    let refusals = async |actor: &str| {
        let records = api.audit().await.into_iter();
        let refused = records.filter(|record| record.event == Event::Refused);
        let theirs = refused.filter(|record| record.actor.as_str() == actor);
        theirs.filter_map(|record| record.note).collect::<Vec<_>>()
    };
    let other = || anonymous("GET", foreign).header("authorization", &authorization);
    for _ in 0..15 {
        assert_eq!(
            api.send(owner("GET", foreign)).await.kind(),
            "workspace-unknown"
        );
        assert_eq!(api.send(other()).await.kind(), "workspace-unknown");
    }
    let id = made["id"].as_str().unwrap();
    let by = made["createdBy"].as_str().unwrap();
    assert_eq!(refusals(id).await.len() + refusals(by).await.len(), 20);
    // Those of another owner.
    let others = api.owner_of(&["acme"]).await;
    let before = api.audit().await.len();
    api.send(others("GET", foreign)).await;
    assert_eq!(api.audit().await.len() - before, 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(65)).await;
    api.send(other()).await;
    let note = refusals(id).await.pop().unwrap();
    assert!(
        note.ends_with("; 5 more before this one, counted only"),
        "{note}"
    );
}
