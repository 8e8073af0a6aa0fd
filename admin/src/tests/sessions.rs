//! Signing in to the page: what the cookie is, what it opens, and when it stops.

use keyside_credentials::audit::Event;

use super::*;

const SESSION: &str = "/api/session";

const PAGE_TOKEN: &str = "x-keyside-page-token";

/// A browser that has signed in.
pub(super) struct SignedIn {
    cookie: String,
    page_token: String,
}

impl SignedIn {
    pub(super) async fn at(api: &Api, token: &str) -> Self {
        let answer = try_sign_in(api, token).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        let cookie = answer.header("set-cookie").split(';').next().unwrap();
        Self {
            cookie: cookie.to_owned(),
            page_token: answer.json()["pageToken"].as_str().unwrap().to_owned(),
        }
    }

    /// A request that the page's own script sends.
    pub(super) fn on(&self, request: http::request::Builder) -> http::request::Builder {
        request
            .header("cookie", &self.cookie)
            .header(PAGE_TOKEN, &self.page_token)
            .header("sec-fetch-site", "same-origin")
    }

    async fn get(&self, api: &Api, path: &str) -> Answer {
        api.send(self.on(anonymous("GET", path))).await
    }

    async fn post(&self, api: &Api, path: &str, body: &Value) -> Answer {
        let request = self
            .on(anonymous("POST", path))
            .header("content-type", "application/json");
        api.send_body(request, body.to_string().into()).await
    }
}

async fn try_sign_in(api: &Api, token: &str) -> Answer {
    let request = anonymous("POST", SESSION).header("content-type", "application/json");
    let body = json!({ "token": token }).to_string();
    api.send_body(request, body.into()).await
}

#[tokio::test]
async fn a_session_is_a_host_cookie_that_no_script_reads_and_no_other_site_sends() {
    let api = Api::open().await;
    let answer = try_sign_in(&api, &api.token).await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-keyside=kss_"), "{cookie}");
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.split("; ").any(|part| part == attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert!(!answer.body.contains(&api.token), "{}", answer.body);
}

#[tokio::test]
async fn whoever_signed_in_is_who_the_token_says_and_it_is_on_record() {
    let api = Api::open().await;
    let browser = SignedIn::at(&api, &api.token).await;
    let me = browser.get(&api, SESSION).await.json();
    assert_eq!(me["role"], "owner");
    assert_eq!(me["workspaces"], Value::Null);
    assert!(me["session"]["provenUntil"].is_string(), "{me}");
    let record = api.audit().await.pop().unwrap();
    assert_eq!(record.event, Event::SignedIn);
    assert_eq!(record.actor.as_str(), me["tokenId"].as_str().unwrap());
    assert_eq!(record.note.as_deref(), me["session"]["id"].as_str());
}

#[tokio::test]
async fn a_session_ends_when_idle_at_its_age_and_at_once_when_signed_out() {
    let api = Api::open().await;
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let idle = SignedIn::at(&api, &api.token).await;
    let busy = SignedIn::at(&api, &api.token).await;
    let left = SignedIn::at(&api, &api.token).await;
    let out = api.send(left.on(anonymous("DELETE", SESSION))).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(api.audit().await.pop().unwrap().event, Event::SignedOut);
    assert_eq!(
        left.get(&api, SESSION).await.status,
        StatusCode::UNAUTHORIZED
    );

    tokio::time::pause();
    tokio::time::advance(minutes(29)).await;
    assert_eq!(busy.get(&api, SESSION).await.status, StatusCode::OK);
    tokio::time::advance(minutes(1)).await;
    assert_eq!(
        idle.get(&api, SESSION).await.status,
        StatusCode::UNAUTHORIZED
    );
    for _ in 0..34 {
        tokio::time::advance(minutes(20)).await;
        assert_eq!(busy.get(&api, SESSION).await.status, StatusCode::OK);
    }
    tokio::time::advance(minutes(20)).await;
    assert_eq!(
        busy.get(&api, SESSION).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_session_dies_with_its_token() {
    let api = Api::open().await;
    let made = json!({ "name": "Robin", "role": "editor" });
    let made = api.post("/api/tokens", &made).await.json();
    let browser = SignedIn::at(&api, made["token"].as_str().unwrap()).await;
    assert_eq!(browser.get(&api, SESSION).await.json()["name"], "Robin");
    let token = format!("/api/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(api.delete(&token).await.status, StatusCode::OK);
    assert_eq!(
        browser.get(&api, SESSION).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn signing_in_again_ends_the_session_before_and_never_takes_over_a_given_one() {
    let api = Api::open().await;
    let first = SignedIn::at(&api, &api.token).await;
    let again = first
        .post(&api, SESSION, &json!({ "token": api.token }))
        .await;
    let cookie = again.header("set-cookie").split(';').next().unwrap();
    assert_ne!(cookie, first.cookie);
    assert_eq!(
        first.get(&api, SESSION).await.status,
        StatusCode::UNAUTHORIZED
    );

    let planted = SignedIn {
        cookie: "__Host-keyside=kss_planted".to_owned(),
        page_token: first.page_token.clone(),
    };
    planted
        .post(&api, SESSION, &json!({ "token": api.token }))
        .await;
    assert_eq!(
        planted.get(&api, SESSION).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_change_with_a_cookie_must_say_which_page_it_comes_from() {
    let api = Api::open().await;
    let browser = SignedIn::at(&api, &api.token).await;
    let silent = |method: &str, path: &str| {
        let request = anonymous(method, path).header("cookie", &browser.cookie);
        request.header(PAGE_TOKEN, &browser.page_token)
    };
    let read = api.send(silent("GET", "/api/workspaces")).await;
    assert_eq!(read.status, StatusCode::OK);
    let change = silent("POST", "/api/workspaces").header("content-type", "application/json");
    let change = api.send_body(change, r#"{"id":"acme"}"#.into()).await;
    assert_eq!(change.kind(), "browser-not-allowed");
    let with_origin = silent("POST", "/api/workspaces")
        .header("content-type", "application/json")
        .header("origin", "http://127.0.0.1:7381");
    let with_origin = api.send_body(with_origin, r#"{"id":"acme"}"#.into()).await;
    assert_eq!(with_origin.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_cookie_without_its_page_token_opens_nothing_and_keeps_nothing_alive() {
    for public_url in ["http://127.0.0.1:7381", "https://keys.example.test"] {
        let api = Api::at(public_url).await;
        let browser = SignedIn::at(&api, &api.token).await;
        let other = SignedIn::at(&api, &api.token).await;
        // What another port of this host is sent by the browser, and says of itself.
        let replayed = |method: &str, path: &str| {
            let request = anonymous(method, path).header("cookie", &browser.cookie);
            request.header("sec-fetch-site", "same-origin")
        };
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(20 * 60)).await;
        for request in [
            replayed("GET", "/api/workspaces"),
            replayed("POST", "/api/workspaces"),
            replayed("DELETE", SESSION),
            replayed("GET", SESSION).header(PAGE_TOKEN, &other.page_token),
            replayed("GET", SESSION).header(PAGE_TOKEN, ""),
        ] {
            let answer = api.send(request).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        }
        tokio::time::advance(Duration::from_secs(10 * 60)).await;
        let idle = browser.get(&api, SESSION).await;
        assert_eq!(idle.status, StatusCode::UNAUTHORIZED);
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_page_token_is_told_once_and_is_nothing_without_the_cookie() {
    let api = Api::open().await;
    let browser = SignedIn::at(&api, &api.token).await;
    let me = browser.get(&api, SESSION).await;
    assert!(!me.body.contains(&browser.page_token), "{}", me.body);
    let alone = anonymous("GET", SESSION).header(PAGE_TOKEN, &browser.page_token);
    assert_eq!(api.send(alone).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_wrong_token_beside_a_good_cookie_opens_nothing() {
    let api = Api::open().await;
    let browser = SignedIn::at(&api, &api.token).await;
    let request = browser
        .on(anonymous("GET", "/api/workspaces"))
        .header("authorization", "Bearer ks_wrong");
    assert_eq!(api.send(request).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_old_proof_is_renewed_by_the_sessions_own_token_and_no_other() {
    let api = Api::open().await;
    let new = json!({ "name": "CI", "role": "viewer" });
    let other = api
        .post("/api/tokens", &json!({ "name": "B", "role": "owner" }))
        .await
        .json();
    let browser = SignedIn::at(&api, &api.token).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5 * 60)).await;
    tokio::time::resume();
    let stale = browser.post(&api, "/api/tokens", &new).await;
    assert_eq!(stale.kind(), "fresh-proof-required");
    assert_eq!(
        browser.get(&api, SESSION).await.json()["session"]["provenUntil"],
        Value::Null
    );
    for wrong in [other["token"].as_str().unwrap(), "ks_wrong"] {
        let proof = json!({ "token": wrong });
        let refused = browser.post(&api, "/api/session/proof", &proof).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert_eq!(
            browser.post(&api, "/api/tokens", &new).await.kind(),
            "fresh-proof-required"
        );
    }
    let proof = json!({ "token": api.token });
    let proven = browser.post(&api, "/api/session/proof", &proof).await;
    assert!(
        proven.json()["session"]["provenUntil"].is_string(),
        "{}",
        proven.body
    );
    assert_eq!(
        browser.post(&api, "/api/tokens", &new).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn guessing_tokens_soon_has_to_wait_and_that_it_was_tried_is_on_record() {
    let api = Api::open().await;
    guess_till_refused(&api).await;
    let waiting = try_sign_in(&api, "ks_guess").await;
    assert_eq!(waiting.kind(), "too-many-requests");
    let seconds: u64 = waiting.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn guesses_from_the_owners_own_address_keep_nobody_out_who_has_a_token() {
    let api = Api::open().await;
    let browser = SignedIn::at(&api, &api.token).await;
    guess_till_refused(&api).await;
    let proof = json!({ "token": api.token });
    let proven = browser.post(&api, "/api/session/proof", &proof).await;
    assert_eq!(proven.status, StatusCode::OK, "{}", proven.body);
    for _ in 0..20 {
        SignedIn::at(&api, &api.token).await;
    }
}

/// As many wrong tokens as one address may show; that there were some is on record.
async fn guess_till_refused(api: &Api) {
    for _ in 0..10 {
        let refused = try_sign_in(api, "ks_guess").await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    }
    let records = api.audit().await;
    let refused = records
        .iter()
        .filter(|record| record.event == Event::Refused);
    assert_eq!(refused.count(), 1);
}

#[tokio::test]
async fn nobody_signs_in_while_it_cannot_be_put_on_record() {
    let api = Api::open().await;
    api.log.fail(true);
    let refused = try_sign_in(&api, &api.token).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.header("set-cookie"), "");
}

#[tokio::test]
async fn across_a_network_nobody_signs_in_in_the_clear() {
    let api = Api::at("http://keys.example.test").await;
    assert_eq!(
        try_sign_in(&api, &api.token).await.kind(),
        "sign-in-in-the-clear"
    );
    let api = Api::at("http://127.0.0.1:7381").await;
    let answer = try_sign_in(&api, &api.token).await;
    assert!(answer.header("set-cookie").starts_with("keyside=kss_"));
    assert!(!answer.header("set-cookie").contains("Secure"));
}
