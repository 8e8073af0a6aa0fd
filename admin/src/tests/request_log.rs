//! The layer that tracks requests, over handlers that panic or hang.

use std::{sync::Mutex, time::Duration};

use axum::{middleware, routing::get};

use super::{secrecy::Lines, *};
use crate::{access_audit::AccessAudit, request_log};

fn around(api: &Api, router: Router) -> Api {
    let audit = Arc::new(AccessAudit::new(api.registry.clone()));
    Api {
        log: api.log.clone(),
        memory: api.memory.clone(),
        router: router.layer(middleware::from_fn_with_state(audit, request_log::track)),
        registry: api.registry.clone(),
        token: api.token.clone(),
        provider: api.provider.clone(),
        model: api.model.clone(),
        smoke: api.smoke.clone(),
        sessions: api.sessions.clone(),
        folder: tempfile::tempdir().unwrap(),
    }
}

#[tokio::test]
async fn a_panic_becomes_a_problem_and_not_a_closed_connection() {
    let api = Api::open().await;
    let log = Lines::default();
    let _guard = log.collect();
    let panics = Router::new().route("/", get(async || -> () { panic!("a mistake of ours") }));
    let answer = around(&api, panics).get("/").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.kind(), "internal");
    assert!(!answer.body.contains("mistake"));
    let log = log.text();
    let told = log.lines().find(|line| line.contains("ERROR")).unwrap();
    assert!(
        told.contains(answer.header("x-keyside-request-id")),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_completes_after_its_client_disconnects() {
    let api = Api::open().await;
    let (done, mut told) = tokio::sync::mpsc::channel(1);
    let (go_on, wait) = tokio::sync::oneshot::channel();
    let wait = Arc::new(Mutex::new(Some(wait)));
    let slow = Router::new().route(
        "/",
        get(async move || {
            let wait = wait.lock().unwrap().take();
            wait.unwrap().await.unwrap();
            done.send(()).await.unwrap();
        }),
    );
    let api = around(&api, slow);
    let call = tokio::time::timeout(Duration::from_millis(20), api.get("/"));
    assert!(call.await.is_err(), "the client hangs up first");
    go_on.send(()).unwrap();
    assert_eq!(told.recv().await, Some(()));
}
