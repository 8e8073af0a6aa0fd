//! What costs more than others is done a few at a time, and never keeps a change waiting.

use http::Response;
use tokio::task::JoinHandle;

use super::*;

const CHECK: &str = "/api/audit/verify";
const EXPORT: &str = "/api/audit/export";
const RECORDS: &str = "/api/audit";

type Answering = JoinHandle<Result<Response<Body>, std::convert::Infallible>>;

impl Api {
    /// A request that goes on while the test does other things.
    fn begin(&self, request: http::request::Builder) -> Answering {
        let request = request.body(Body::empty()).unwrap();
        tokio::spawn(self.router.clone().oneshot(request))
    }

    /// Another token that may read everything.
    async fn another(&self, role: &str) -> impl Fn(&str, &str) -> http::request::Builder + use<> {
        let new = json!({ "name": "another", "role": role });
        let made = self.post("/api/tokens", &new).await.json();
        let authorization = format!("Bearer {}", made["token"].as_str().unwrap());
        move |method, path| anonymous(method, path).header("authorization", &authorization)
    }
}

async fn status(answering: Answering) -> StatusCode {
    answering.await.unwrap().unwrap().status()
}

fn assert_already_running(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.kind(), "already-running", "{}", answer.body);
    assert_eq!(answer.header("retry-after"), "5");
}

#[tokio::test]
async fn the_log_is_checked_once_at_a_time_and_no_change_waits_for_it() {
    let api = Api::with_workspace().await;
    let receipt = api.delete("/api/workspaces/acme").await.json();
    let viewer = api.another("viewer").await;
    let held = api.log.gate.hold();
    let first = api.begin(api.request("GET", CHECK));
    api.log.gate.arrived(1).await;
    assert_already_running(&api.get(CHECK).await);
    assert_already_running(&api.send(viewer("GET", CHECK)).await);
    assert_already_running(&api.post(CHECK, &receipt).await);
    // The check stands still in the middle of the log.
    let change = api.post("/api/workspaces", &json!({ "id": "beta" })).await;
    assert_eq!(change.status, StatusCode::CREATED, "{}", change.body);
    drop(held);
    assert_eq!(status(first).await, StatusCode::OK);
    let next = api.send(viewer("GET", CHECK)).await;
    assert_eq!(next.json()["intact"], true, "{}", next.body);
    let confirmed = api.post(CHECK, &receipt).await;
    assert_eq!(confirmed.json()["confirmed"], true, "{}", confirmed.body);
}

/// Whoever sends the body of a receipt slowly is at nothing yet.
#[tokio::test]
async fn a_receipt_that_has_not_arrived_keeps_no_check_waiting() {
    let api = Api::open().await;
    let (sender, body) = http_body_util::channel::Channel::<axum::body::Bytes>::new(1);
    let slow = api
        .request("POST", CHECK)
        .header("content-type", "application/json");
    let slow = slow.body(Body::new(body)).unwrap();
    let slow: Answering = tokio::spawn(api.router.clone().oneshot(slow));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(api.get(CHECK).await.status, StatusCode::OK);
    drop(sender);
    assert!(status(slow).await.is_client_error());
}

#[tokio::test]
async fn a_token_has_one_export_at_a_time_until_the_last_byte_and_others_have_theirs() {
    let api = Api::with_workspace().await;
    let owner = api.another("owner").await;
    let archive = "/api/workspaces/acme/export";
    let unread = api
        .begin(api.request("GET", EXPORT))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(unread.status(), StatusCode::OK);
    assert_already_running(&api.get(EXPORT).await);
    assert_already_running(&api.post(archive, &json!({})).await);
    let theirs = api.begin(owner("POST", archive)).await.unwrap().unwrap();
    assert_eq!(theirs.status(), StatusCode::OK);
    assert_already_running(&api.send(owner("GET", EXPORT)).await);
    drop((unread, theirs));
    assert_eq!(api.get(EXPORT).await.status, StatusCode::OK);
    let archive = api.post(archive, &json!({})).await;
    assert_eq!(archive.status, StatusCode::OK);
    // One that was read to its end holds nothing either.
    assert_eq!(api.get(EXPORT).await.status, StatusCode::OK);
}

#[tokio::test]
async fn tokens_that_make_tokens_have_no_more_exports_in_all() {
    let api = Api::open().await;
    let mut unread = Vec::new();
    for _ in 0..4 {
        let owner = api.another("owner").await;
        unread.push(api.begin(owner("GET", EXPORT)).await.unwrap().unwrap());
    }
    assert!(
        unread
            .iter()
            .all(|answer| answer.status() == StatusCode::OK)
    );
    assert_already_running(&api.get(EXPORT).await);
    unread.pop();
    assert_eq!(api.get(EXPORT).await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_backup_is_made_at_a_time() {
    let api = Api::open().await;
    let owner = api.another("owner").await;
    let unread = api.begin(api.request("POST", "/api/backup"));
    let unread = unread.await.unwrap().unwrap();
    assert_eq!(unread.status(), StatusCode::OK);
    assert_already_running(&api.send(owner("POST", "/api/backup")).await);
    drop(unread);
    let answer = api.send(owner("POST", "/api/backup")).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn the_lists_of_a_token_are_made_one_after_the_other() {
    let api = Api::open().await;
    let viewer = api.another("viewer").await;
    let held = api.log.gate.hold();
    let lists = [
        api.begin(api.request("GET", RECORDS)),
        api.begin(api.request("GET", RECORDS)),
        api.begin(viewer("GET", RECORDS)),
        api.begin(viewer("GET", RECORDS)),
    ];
    api.log.gate.arrived(2).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(api.log.gate.arrivals(), 2, "one of each token");
    drop(held);
    for list in lists {
        assert_eq!(status(list).await, StatusCode::OK);
    }
}
