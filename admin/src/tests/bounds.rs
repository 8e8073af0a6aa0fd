//! Limits on the cost of a body, whatever it holds.

use super::*;

const WORKSPACES: &str = "/api/workspaces";

/// A workspace's body with `count` fields that are none of it.
fn with_others(count: usize) -> String {
    let others: String = (0..count).map(|n| format!(",\"x{n:x}\":1")).collect();
    format!("{{\"id\":\"beta\"{others}}}")
}

fn errors(answer: &Answer) -> Vec<Value> {
    answer.json()["errors"].as_array().unwrap().clone()
}

#[tokio::test]
async fn of_many_wrong_fields_some_are_named_and_the_rest_are_counted() {
    let api = Api::with_workspace().await;
    let some = api.post(WORKSPACES, &json!({ "id": 1, "y": 1 })).await;
    assert_eq!(errors(&some).len(), 2);
    assert!(!some.body.contains("more"), "{}", some.body);
    let many = api.post_text(WORKSPACES, with_others(40)).await;
    assert_eq!(many.kind(), "fields-invalid");
    assert_eq!(errors(&many).len(), 16);
    assert!(many.body.contains("and 24 more"), "{}", many.body);
}

#[tokio::test]
async fn a_body_with_thousands_of_fields_gets_a_short_response() {
    let api = Api::with_workspace().await;
    let repeated = format!("{{{}\"id\":\"beta\"}}", "\"id\":\"beta\",".repeat(4_000));
    for body in [with_others(64), with_others(6_000), repeated] {
        let answer = api.post_text(WORKSPACES, body).await;
        assert_eq!(answer.kind(), "fields-invalid");
        let errors = errors(&answer);
        assert_eq!(errors.len(), 1, "{}", answer.body);
        let detail = errors[0]["detail"].as_str().unwrap();
        assert!(detail.contains("at most 64 are read"), "{detail}");
        assert!(answer.body.len() < 1_000, "{}", answer.body);
    }
    assert_eq!(
        api.get("/api/workspaces/beta").await.status,
        StatusCode::NOT_FOUND
    );
}

/// A receipt lists every token and key of the erased workspace.
#[tokio::test]
async fn a_receipt_may_be_longer_than_other_bodies() {
    let api = Api::with_workspace().await;
    let long = |length| format!("{{\"tokens\":[\"{}\"]}}", "x".repeat(length));
    let read = api.post_text("/api/audit/verify", long(1 << 20)).await;
    assert_eq!(read.status, StatusCode::OK, "{}", read.body);
    assert_eq!(read.json()["confirmed"], false);
    for (path, length) in [("/api/audit/verify", 2 << 20), (WORKSPACES, 1 << 20)] {
        let refused = api.post_text(path, long(length)).await;
        assert_eq!(refused.kind(), "body-too-large", "{path}");
    }
}

#[tokio::test]
async fn a_query_with_thousands_of_parameters_gets_a_short_response() {
    let api = Api::with_workspace().await;
    for query in ["limit=1&", "a&", "=&"] {
        let query = query.repeat(60_000 / query.len());
        for path in [WORKSPACES, "/api/workspaces/acme"] {
            let answer = api.get(&format!("{path}?{query}")).await;
            assert_eq!(answer.fields(), ["(the whole query)"], "{path}");
            assert!(
                answer.body.contains("at most 64 are read"),
                "{}",
                answer.body
            );
            assert!(answer.body.len() < 1_000, "{}", answer.body);
        }
    }
    let separators = "&".repeat(60_000);
    let answer = api.get(&format!("{WORKSPACES}?{separators}limit=1")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

#[tokio::test]
async fn a_form_with_thousands_of_fields_is_refused() {
    let api = Api::on_loopback().await;
    let fields = "token=a&".repeat(8_000);
    let answer = api.submit("/sign-in", &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_field_with_too_many_items_gets_a_short_response() {
    let api = Api::with_workspace().await;
    for items in ["1,", "\"a\",", "[],", "{},"] {
        let items = items.repeat(60_000 / items.len());
        let list = format!("[{}]", items.trim_end_matches(','));
        let body = format!("{{\"name\":\"CI\",\"role\":\"viewer\",\"workspaces\":{list}}}");
        let answer = api.post_text("/api/tokens", body).await;
        assert_eq!(answer.fields(), ["workspaces"]);
        assert!(answer.body.len() < 1_000, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_name_that_is_written_with_an_escape_is_the_same_name() {
    let api = Api::with_workspace().await;
    let made = api
        .post_text(WORKSPACES, r#"{"\u0069d":"be\u0074a"}"#)
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(made.json()["id"], "beta");
    let twice = api
        .post_text(WORKSPACES, r#"{"id":"c1","\u0069d":"c2"}"#)
        .await;
    assert_eq!(twice.fields(), ["id"]);
    let no_text = api.post_text(WORKSPACES, r#"{"id":"c1","\ud800":1}"#).await;
    assert_eq!(no_text.kind(), "fields-invalid", "{}", no_text.body);
}

#[tokio::test]
async fn a_secret_that_is_written_with_escapes_is_the_same_secret() {
    let api = Api::with_workspace().await;
    let plain = api.post(CREDENTIALS, &new_credential(json!({}))).await;
    let escaped: String = SECRET
        .bytes()
        .map(|byte| format!("\\u{byte:04x}"))
        .collect();
    let body = new_credential(json!({ "label": "escaped" }));
    let body = body.to_string().replace(SECRET, &escaped);
    let stored = api.post_text(CREDENTIALS, body).await;
    assert_eq!(stored.status, StatusCode::CREATED, "{}", stored.body);
    assert_eq!(stored.json()["fingerprint"], plain.json()["fingerprint"]);
}
