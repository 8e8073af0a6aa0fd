//! Expensive requests run a few at a time, and never delay a change.

use std::convert::Infallible;

use http::Response;
use tokio::task::JoinHandle;

use super::*;

const CHECK: &str = "/api/audit/verify";
const EXPORT: &str = "/api/audit/export";
const RECORDS: &str = "/api/audit";

type Answering = JoinHandle<Result<Response<Body>, Infallible>>;

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

/// Until all that can go on has gone on.
async fn yield_to_others() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn status(answering: Answering) -> StatusCode {
    answering.await.unwrap().unwrap().status()
}

fn assert_too_many_in_progress(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.kind(), "too-many-in-progress", "{}", answer.body);
    assert_eq!(answer.header("retry-after"), "5");
}

#[tokio::test]
async fn the_log_is_checked_once_at_a_time_and_no_change_waits_for_it() {
    let api = Api::with_workspace().await;
    let receipt = api.delete("/api/workspaces/acme").await.json();
    let viewer = api.another("viewer").await;
    let held = api.log.records.hold();
    let first = api.begin(api.request("GET", CHECK));
    api.log.records.arrived(1).await;
    assert_too_many_in_progress(&api.get(CHECK).await);
    assert_too_many_in_progress(&api.post(CHECK, &receipt).await);
    let second = api.begin(viewer("GET", CHECK));
    yield_to_others().await;
    assert_eq!(api.log.records.arrivals(), 1, "one check at a time");
    assert_too_many_in_progress(&api.send(viewer("GET", CHECK)).await);
    // The check is paused in the middle of the log.
    let change = api.post("/api/workspaces", &json!({ "id": "beta" })).await;
    assert_eq!(change.status, StatusCode::CREATED, "{}", change.body);
    drop(held);
    assert_eq!(status(first).await, StatusCode::OK);
    assert_eq!(status(second).await, StatusCode::OK);
    let next = api.send(viewer("GET", CHECK)).await;
    assert_eq!(next.json()["intact"], true, "{}", next.body);
    let confirmed = api.post(CHECK, &receipt).await;
    assert_eq!(confirmed.json()["confirmed"], true, "{}", confirmed.body);
}

/// A client that sends the body of a receipt slowly takes no turn yet.
#[tokio::test]
async fn a_receipt_that_has_not_arrived_keeps_no_check_waiting() {
    let api = Api::open().await;
    let (sender, body) = http_body_util::channel::Channel::<axum::body::Bytes>::new(1);
    let slow = api
        .request("POST", CHECK)
        .header("content-type", "application/json");
    let slow = slow.body(Body::new(body)).unwrap();
    let slow: Answering = tokio::spawn(api.router.clone().oneshot(slow));
    yield_to_others().await;
    assert_eq!(api.get(CHECK).await.status, StatusCode::OK);
    drop(sender);
    assert!(status(slow).await.is_client_error());
}

#[tokio::test]
async fn a_token_has_one_export_at_a_time_until_its_last_byte_is_sent() {
    let api = Api::with_workspace().await;
    let owner = api.another("owner").await;
    let archive = "/api/workspaces/acme/export";
    let unread = api
        .begin(api.request("GET", EXPORT))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(unread.status(), StatusCode::OK);
    assert_too_many_in_progress(&api.get(EXPORT).await);
    assert_too_many_in_progress(&api.post(archive, &json!({})).await);
    let theirs = api.begin(owner("POST", archive)).await.unwrap().unwrap();
    assert_eq!(theirs.status(), StatusCode::OK);
    assert_too_many_in_progress(&api.send(owner("GET", EXPORT)).await);
    drop((unread, theirs));
    assert_eq!(api.get(EXPORT).await.status, StatusCode::OK);
    let archive = api.post(archive, &json!({})).await;
    assert_eq!(archive.status, StatusCode::OK);
    // One that was read to its end holds nothing either.
    assert_eq!(api.get(EXPORT).await.status, StatusCode::OK);
}

#[tokio::test]
async fn tokens_created_by_a_token_share_the_total_of_exports() {
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
    assert_too_many_in_progress(&api.get(EXPORT).await);
    unread.pop();
    assert_eq!(api.get(EXPORT).await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_backup_runs_at_a_time() {
    let api = Api::open().await;
    let owner = api.another("owner").await;
    let unread = api.begin(api.request("POST", "/api/backup"));
    let unread = unread.await.unwrap().unwrap();
    assert_eq!(unread.status(), StatusCode::OK);
    assert_too_many_in_progress(&api.send(owner("POST", "/api/backup")).await);
    drop(unread);
    let answer = api.send(owner("POST", "/api/backup")).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn the_lists_of_a_token_run_one_at_a_time() {
    let api = Api::open().await;
    let viewer = api.another("viewer").await;
    let held = api.log.records.hold();
    let lists = [
        api.begin(api.request("GET", RECORDS)),
        api.begin(api.request("GET", RECORDS)),
        api.begin(viewer("GET", RECORDS)),
        api.begin(viewer("GET", RECORDS)),
    ];
    api.log.records.arrived(2).await;
    yield_to_others().await;
    assert_eq!(api.log.records.arrivals(), 2, "one of each token");
    drop(held);
    for list in lists {
        assert_eq!(status(list).await, StatusCode::OK);
    }
}

/// An owner of one workspace could otherwise create tokens until searches of the log slow all others.
#[tokio::test]
async fn of_the_tokens_that_come_from_a_limited_token_one_list_runs_at_a_time() {
    let api = Api::with_workspace().await;
    let viewer = api.another("viewer").await;
    let limited = json!({ "name": "limited", "role": "owner", "workspaces": ["acme"] });
    let with = |created: &Answer| {
        let authorization = format!("Bearer {}", created.json()["token"].as_str().unwrap());
        move |method, path| anonymous(method, path).header("authorization", &authorization)
    };
    let first = with(&api.post("/api/tokens", &limited).await);
    let create = first("POST", "/api/tokens").header("content-type", "application/json");
    let second = with(&api.send_body(create, limited.to_string().into()).await);
    let held = api.log.records.hold();
    let lists = [
        api.begin(first("GET", RECORDS)),
        api.begin(second("GET", RECORDS)),
        api.begin(viewer("GET", RECORDS)),
    ];
    api.log.records.arrived(2).await;
    yield_to_others().await;
    assert_eq!(
        api.log.records.arrivals(),
        2,
        "one of both, and the viewer's"
    );
    drop(held);
    for list in lists {
        assert_eq!(status(list).await, StatusCode::OK);
    }
}

/// A loop of one token takes no place of another's.
#[tokio::test]
async fn a_token_that_checks_the_log_all_the_time_keeps_no_other_from_it() {
    let api = Api::open().await;
    let viewer = api.another("viewer").await;
    let held = api.log.records.hold();
    let running = api.begin(viewer("GET", CHECK));
    api.log.records.arrived(1).await;
    let mine = api.begin(api.request("GET", CHECK));
    yield_to_others().await;
    for _ in 0..20 {
        assert_too_many_in_progress(&api.send(viewer("GET", CHECK)).await);
    }
    drop(held);
    assert_eq!(status(running).await, StatusCode::OK);
    assert_eq!(status(mine).await, StatusCode::OK);
}

#[tokio::test]
async fn four_lists_of_a_token_are_queued_and_more_are_refused() {
    let api = Api::open().await;
    let held = api.log.records.hold();
    let lists: Vec<_> = (0..5)
        .map(|_| api.begin(api.request("GET", RECORDS)))
        .collect();
    yield_to_others().await;
    assert_too_many_in_progress(&api.get(RECORDS).await);
    assert_too_many_in_progress(&api.get("/api/tokens").await);
    // On a thread of its own.
    api.log.records.arrived(1).await;
    assert_eq!(api.log.records.arrivals(), 1);
    drop(held);
    for list in lists {
        assert_eq!(status(list).await, StatusCode::OK);
    }
    assert_eq!(api.get(RECORDS).await.status, StatusCode::OK);
}

#[tokio::test]
async fn queued_work_is_cancelled_when_its_client_disconnects() {
    let api = Api::open().await;
    let held = api.log.records.hold();
    let first = api.begin(api.request("GET", RECORDS));
    api.log.records.arrived(1).await;
    for _ in 0..20 {
        let waiting = api.begin(api.request("GET", RECORDS));
        yield_to_others().await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        yield_to_others().await;
    }
    assert_eq!(api.log.records.arrivals(), 1);
    drop(held);
    assert_eq!(status(first).await, StatusCode::OK);
}

#[tokio::test]
async fn a_token_that_is_revoked_while_it_waits_gets_no_list() {
    let api = Api::open().await;
    let viewer = api.another("viewer").await;
    let tokens = api.get("/api/tokens").await.json();
    let tokens = tokens["items"].as_array().unwrap();
    let viewers = tokens.iter().find(|token| token["name"] == "another");
    let id = viewers.unwrap()["id"].as_str().unwrap().to_owned();
    let held = api.log.records.hold();
    let first = api.begin(viewer("GET", RECORDS));
    api.log.records.arrived(1).await;
    let second = api.begin(viewer("GET", RECORDS));
    yield_to_others().await;
    let revoked = api.delete(&format!("/api/tokens/{id}")).await;
    assert_eq!(revoked.status, StatusCode::OK);
    drop(held);
    assert_eq!(status(first).await, StatusCode::OK);
    assert_eq!(status(second).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_has_one_live_check_at_a_time_and_the_next_is_refused_at_once() {
    let api = Api::with_workspace().await;
    let id = api.post(CREDENTIALS, &new_credential(json!({}))).await.id();
    let path = format!("{CREDENTIALS}/{id}");
    let verify = format!("{path}/verify");
    let held = api.provider.gate.hold();
    let asked = api.begin(api.request("POST", &verify));
    api.provider.gate.arrived(1).await;
    for _ in 0..20 {
        assert_too_many_in_progress(&api.send(api.request("POST", &verify)).await);
    }
    let rotation = api
        .request("PATCH", &path)
        .header("if-match", "*")
        .header("content-type", "application/json");
    let body = json!({ "secret": format!("{SECRET}Next"), "check": "required" });
    let rotated = api.send_body(rotation, body.to_string().into()).await;
    assert_too_many_in_progress(&rotated);
    let tried = json!({ "label": "other", "check": "try" });
    let tried = api.post(CREDENTIALS, &new_credential(tried)).await;
    assert_eq!(tried.status, StatusCode::CREATED, "{}", tried.body);
    let warned = tried.json()["warnings"].to_string();
    assert!(warned.contains("was not asked"), "{warned}");
    assert_eq!(api.provider.gate.arrivals(), 1);
    drop(held);
    assert_eq!(status(asked).await, StatusCode::OK);
}

#[tokio::test]
async fn a_token_may_send_eight_bodies_at_once_and_other_tokens_are_not_affected() {
    let api = Api::open().await;
    let owner = api.another("owner").await;
    let json = "application/json";
    let mut senders = Vec::new();
    let mut slow = Vec::new();
    for _ in 0..8 {
        let (sender, body) = http_body_util::channel::Channel::<axum::body::Bytes>::new(1);
        let request = owner("POST", "/api/workspaces").header("content-type", json);
        let request = request.body(Body::new(body)).unwrap();
        slow.push(tokio::spawn(api.router.clone().oneshot(request)));
        senders.push(sender);
    }
    yield_to_others().await;
    let ninth = owner("POST", "/api/workspaces").header("content-type", json);
    assert_too_many_in_progress(&api.send_body(ninth, r#"{"id":"beta"}"#.into()).await);
    let mine = api.post("/api/workspaces", &json!({ "id": "beta" })).await;
    assert_eq!(mine.status, StatusCode::CREATED, "{}", mine.body);
    drop(senders);
    for answering in slow {
        assert!(status(answering).await.is_client_error());
    }
    let next = owner("POST", "/api/workspaces").header("content-type", json);
    let next = api.send_body(next, r#"{"id":"gamma"}"#.into()).await;
    assert_eq!(next.status, StatusCode::CREATED, "{}", next.body);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_too_slowly_loses_its_permit_and_the_rest_of_the_body() {
    let api = Api::open().await;
    let unread = api.begin(api.request("POST", "/api/backup"));
    let unread = unread.await.unwrap().unwrap();
    assert_eq!(unread.status(), StatusCode::OK);
    assert_too_many_in_progress(&api.post("/api/backup", &json!({})).await);
    tokio::time::advance(Duration::from_secs(10 * 60 + 1)).await;
    yield_to_others().await;
    let next = api.post("/api/backup", &json!({})).await;
    assert_eq!(next.status, StatusCode::OK);
    assert!(unread.into_body().collect().await.is_err(), "cut off");
}
