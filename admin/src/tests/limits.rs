//! Whose budget a request is taken from.

use super::{sessions::SignedIn, *};

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
async fn an_address_that_others_have_spent_keeps_no_token_and_no_session_out() {
    let api = Api::slow().await;
    spend_the_address(&api).await;
    let browser = SignedIn::at(&api, &api.token).await;
    let session = api.send(browser.on(anonymous("GET", WORKSPACES))).await;
    assert_eq!(session.status, StatusCode::OK, "{}", session.body);
    let api = Api::slow().await;
    spend_the_address(&api).await;
    assert_eq!(api.get(WORKSPACES).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_page_of_another_site_spends_nobodys_budget() {
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
async fn a_token_has_a_budget_of_its_own() {
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
async fn a_sign_in_that_shows_no_token_is_counted_like_any_other_request_of_nobodys() {
    let api = Api::slow().await;
    let bodies = [
        ("application/json", "{"),
        ("text/plain", "{}"),
        ("application/json", "{}"),
    ];
    let mut kinds = Vec::new();
    for (media_type, body) in bodies.into_iter().cycle().take(30) {
        let request = anonymous("POST", "/api/session").header("content-type", media_type);
        kinds.push(api.send_body(request, body.into()).await.kind());
    }
    assert!(kinds.contains(&"too-many-requests".to_owned()), "{kinds:?}");
    SignedIn::at(&api, &api.token).await;
}
