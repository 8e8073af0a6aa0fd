//! The client against servers that are, and are not, an admin API.

use axum::{Json, Router, http::StatusCode, routing::get};
use serde_json::json;

use super::*;

/// Serves `router` on a port of its own and gives its address.
async fn served(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn asked(base: &str) -> Result<Value, ClientError> {
    Client::new(base, "token".to_owned())?
        .get("/api/workspaces")
        .await
}

#[test]
fn an_address_is_scheme_host_and_port_and_nothing_else() {
    for good in [
        "http://127.0.0.1:7381",
        "http://localhost:7381/",
        "http://[::1]:7381",
        "http://keyside",
    ] {
        assert!(Client::new(good, "token".to_owned()).is_ok(), "{good}");
    }
    for bad in [
        "",
        "127.0.0.1:7381",
        "ftp://a",
        "http://",
        "http://user:pw@a",
        "http://a/path",
        "http://a/?q",
    ] {
        assert!(Client::new(bad, "token".to_owned()).is_err(), "{bad}");
    }
}

#[test]
fn a_token_that_could_not_stand_in_a_header_is_not_repeated() {
    let error = Client::new("http://127.0.0.1:1", "sk-canary\nx".to_owned()).err();
    let said = error
        .map(|error| format!("{error} {error:?}"))
        .unwrap_or_default();
    assert!(said.contains("token") && !said.contains("canary"), "{said}");
}

#[tokio::test]
async fn nobody_there_is_said_with_the_way_out() {
    let error = asked("http://127.0.0.1:1").await.unwrap_err();
    assert!(error.to_string().contains("Connection refused"), "{error}");
    assert!(error.next_step().contains("keyside serve"));
}

#[tokio::test]
async fn a_problem_is_told_with_its_fields_and_its_remedy() {
    let problem = json!({
        "type": "urn:keyside:problem:fields-invalid", "title": "t", "status": 422, "detail": "Not as expected.",
        "remedy": "Correct it.", "requestId": "req_1",
        "errors": [{ "field": "label", "pointer": "#/label", "detail": "is missing" }],
    });
    let router = Router::new().route(
        "/api/workspaces",
        get(async move || (StatusCode::UNPROCESSABLE_ENTITY, Json(problem))),
    );
    let error = asked(&served(router).await).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Not as expected. (status 422, req_1)\n  label: is missing"
    );
    assert_eq!(error.next_step(), "Correct it.");
}

#[tokio::test]
async fn something_else_on_that_port_is_not_taken_for_keyside() {
    let base = served(Router::new()).await;
    let error = asked(&base).await.unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::Foreign {
                status: StatusCode::NOT_FOUND,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_redirect_does_not_take_the_token_elsewhere() {
    let router = Router::new()
        .route(
            "/api/workspaces",
            get(async || axum::response::Redirect::to("/elsewhere")),
        )
        .route("/elsewhere", get(async || Json(json!({}))));
    assert!(matches!(
        asked(&served(router).await).await,
        Err(ClientError::Foreign { .. })
    ));
}
