//! Tests the sandbox's router: formats against what the SDKs require, usage against counted words.

use axum::{body::Body, http::StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

const KEY: &str = "sandbox-0123456789";

#[tokio::test]
async fn a_request_without_exactly_the_key_is_refused_in_its_sdks_shape() {
    let wrong: [&[(&str, &str)]; 7] = [
        &[],
        &[("authorization", "Bearer sandbox-other")],
        &[("authorization", "Bearer sandbox-01234567890")],
        &[("authorization", "Basic c2FuZGJveA==")],
        &[("x-api-key", KEY)],
        &[
            ("authorization", "Bearer sandbox-0123456789"),
            ("authorization", "Bearer dummy"),
        ],
        &[
            ("authorization", "Bearer sandbox-0123456789"),
            ("x-api-key", "dummy"),
        ],
    ];
    for headers in wrong {
        let (status, body) = call("POST", "/v1/chat/completions", headers, &chat(json!({}))).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{headers:?}");
        assert_eq!(parsed(&body)["error"]["code"], "invalid_api_key");

        let (status, body) = call("POST", "/v1/messages", headers, &messages(json!({}))).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{headers:?}");
        assert_eq!(parsed(&body)["error"]["type"], "authentication_error");
    }
}

#[tokio::test]
async fn a_refusal_does_not_repeat_the_key_that_was_presented() {
    let (_, body) = call(
        "GET",
        "/v1/models",
        &[("authorization", "Bearer sk-canary-7f3a")],
        "",
    )
    .await;
    assert!(!body.contains("canary"));
}

#[tokio::test]
async fn a_chat_completion_counts_its_words() {
    let (status, body) = allowed("/v1/chat/completions", &chat(json!({}))).await;
    let answer = parsed(&body);
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["object"], "chat.completion");
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.contains("You said: tell me a story."), "{text}");
    assert_eq!(answer["usage"]["prompt_tokens"], 6);
    assert_eq!(
        answer["usage"]["completion_tokens"],
        text.split_whitespace().count()
    );
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn a_streamed_chat_completion_says_the_same_and_counts_only_when_asked() {
    let (_, whole) = allowed("/v1/chat/completions", &chat(json!({}))).await;
    let (_, plain) = allowed("/v1/chat/completions", &chat(json!({ "stream": true }))).await;
    let asked = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let (_, counted) = allowed("/v1/chat/completions", &chat(asked)).await;

    let deltas = |body: &str| -> String {
        events(body)
            .iter()
            .filter_map(|event| {
                event["choices"][0]["delta"]["content"]
                    .as_str()
                    .map(str::to_owned)
            })
            .collect()
    };
    assert_eq!(
        deltas(&plain),
        parsed(&whole)["choices"][0]["message"]["content"]
    );
    assert!(plain.ends_with("data: [DONE]\n\n"));
    assert!(!plain.contains("usage"));

    let counted = events(&counted);
    assert!(counted[0]["usage"].is_null());
    assert_eq!(counted.last().unwrap()["usage"], parsed(&whole)["usage"]);
}

#[tokio::test]
async fn a_streamed_response_is_numbered_and_ends_in_the_whole_of_it() {
    let body =
        json!({ "model": "sandbox-small", "input": "tell me a story", "instructions": "be brief" });
    let (_, whole) = allowed("/v1/responses", &body.to_string()).await;
    let streamed = merged(body, json!({ "stream": true }));
    let (_, stream) = allowed("/v1/responses", &streamed).await;

    let stream = events(&stream);
    for (position, event) in stream.iter().enumerate() {
        assert_eq!(event["sequence_number"], position);
    }
    let text: String = stream
        .iter()
        .filter_map(|event| event["delta"].as_str())
        .collect();
    let last = stream.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], text);
    assert_eq!(last["response"]["usage"], parsed(&whole)["usage"]);
    assert_eq!(last["response"]["usage"]["input_tokens"], 6);
}

#[tokio::test]
async fn a_streamed_message_ends_in_its_cumulative_usage() {
    let (_, whole) = allowed("/v1/messages", &messages(json!({}))).await;
    let (_, stream) = allowed("/v1/messages", &messages(json!({ "stream": true }))).await;
    let (whole, stream) = (parsed(&whole), events(&stream));

    assert_eq!(
        stream[0]["message"]["usage"]["input_tokens"],
        whole["usage"]["input_tokens"]
    );
    let delta = stream
        .iter()
        .find(|event| event["type"] == "message_delta")
        .unwrap();
    assert_eq!(
        delta["usage"]["output_tokens"],
        whole["usage"]["output_tokens"]
    );
    let text: String = stream
        .iter()
        .filter_map(|event| event["delta"]["text"].as_str())
        .collect();
    assert_eq!(whole["content"][0]["text"], text);
    assert_eq!(stream.last().unwrap()["type"], "message_stop");
}

#[tokio::test]
async fn an_answer_stops_at_the_limit_and_says_so() {
    let (_, body) = allowed("/v1/chat/completions", &chat(json!({ "max_tokens": 3 }))).await;
    assert_eq!(parsed(&body)["usage"]["completion_tokens"], 3);
    assert_eq!(parsed(&body)["choices"][0]["finish_reason"], "length");
    let (_, body) = allowed("/v1/messages", &messages(json!({ "max_tokens": 3 }))).await;
    assert_eq!(parsed(&body)["stop_reason"], "max_tokens");
}

#[tokio::test]
async fn a_malformed_request_is_answered_in_its_sdks_shape() {
    for body in ["{", "[]", r#"{"messages": []}"#] {
        let (status, answer) = allowed("/v1/chat/completions", body).await;
        assert_eq!(
            (status, &parsed(&answer)["error"]["type"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_request_error"))
        );
        let (status, answer) = allowed("/v1/messages", body).await;
        assert_eq!(
            (status, &parsed(&answer)["type"]),
            (StatusCode::BAD_REQUEST, &json!("error"))
        );
    }
}

#[tokio::test]
async fn the_models_are_listed_in_both_dialects() {
    let bearer = ("authorization", "Bearer sandbox-0123456789");
    let (_, openai) = call("GET", "/v1/models", &[bearer], "").await;
    assert_eq!(parsed(&openai)["object"], "list");
    let (_, anthropic) = call(
        "GET",
        "/v1/models",
        &[bearer, ("anthropic-version", "2023-06-01")],
        "",
    )
    .await;
    assert_eq!(parsed(&anthropic)["has_more"], false);
}

#[tokio::test]
async fn a_stream_arrives_in_pieces() {
    let sandbox = router(Sandbox::new(KEY).without_pause());
    let request = Request::post("/v1/chat/completions")
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .body(Body::from(chat(json!({ "stream": true }))))
        .unwrap();
    let mut body = sandbox.oneshot(request).await.unwrap().into_body();
    let mut frames = 0;
    while let Some(frame) = body.frame().await {
        assert!(frame.unwrap().into_data().unwrap().ends_with(b"\n\n"));
        frames += 1;
    }
    assert!(frames > 10, "{frames}");
}

async fn allowed(path: &str, body: &str) -> (StatusCode, String) {
    call(
        "POST",
        path,
        &[("authorization", "Bearer sandbox-0123456789")],
        body,
    )
    .await
}

async fn call(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, String) {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let sandbox = router(Sandbox::new(KEY).without_pause());
    let response = sandbox
        .oneshot(request.body(Body::from(body.to_owned())).unwrap())
        .await
        .unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn chat(more: Value) -> String {
    let turns = json!([
        { "role": "system", "content": "be brief" },
        { "role": "user", "content": [{ "type": "text", "text": "tell me a story" }] },
    ]);
    merged(json!({ "model": "sandbox-small", "messages": turns }), more)
}

fn messages(more: Value) -> String {
    let turns = json!([{ "role": "user", "content": "tell me a story" }]);
    merged(
        json!({ "model": "sandbox-small", "max_tokens": 100, "system": "be brief", "messages": turns }),
        more,
    )
}

fn merged(mut body: Value, more: Value) -> String {
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

/// The JSON of every event of a stream.
fn events(body: &str) -> Vec<Value> {
    body.lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect()
}
