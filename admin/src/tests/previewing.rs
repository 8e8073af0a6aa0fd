//! Prompts of people, over a data plane that the test scripts.

use std::{
    collections::VecDeque,
    sync::Mutex,
    task::{Context, Poll},
};

use async_trait::async_trait;
use keyside_credentials::{
    Environment,
    preview::{Preview, PreviewError, PreviewEvent, PreviewReport, PreviewResponse, Prompt},
    runs::{Tokens, Used},
};
use keyside_store::faulty::Gate;

use super::*;

const PREVIEW: &str = "/api/preview";

/// A data plane that gives the same response to every prompt, once its gate is open.
pub(super) struct Model {
    response: Mutex<Result<Ending, PreviewError>>,
    pub(super) prompts: Mutex<Vec<String>>,
    gate: Gate,
}

#[derive(Clone)]
pub(super) enum Ending {
    Whole,
    Cut(PreviewError),
}

impl Default for Model {
    fn default() -> Self {
        Self {
            response: Mutex::new(Ok(Ending::Whole)),
            prompts: Mutex::default(),
            gate: Gate::default(),
        }
    }
}

impl Model {
    pub(super) fn say(&self, response: Result<Ending, PreviewError>) {
        *self.response.lock().unwrap() = response;
    }
}

#[async_trait]
impl Preview for Model {
    async fn send(&self, prompt: Prompt) -> Result<Box<dyn PreviewResponse>, PreviewError> {
        let label = prompt.label.as_ref().map_or("-", |label| label.as_str());
        let environment = prompt.environment.map_or("-", Environment::as_str);
        let said = format!(
            "{} {} {label} {environment} {} {:?} {}",
            prompt.workspace, prompt.provider, prompt.model, prompt.text, prompt.stream
        );
        self.prompts.lock().unwrap().push(said);
        self.gate.pass().await;
        let ending = self.response.lock().unwrap().clone()?;
        let last = match ending {
            Ending::Whole => PreviewEvent::Done(report()),
            Ending::Cut(error) => PreviewEvent::Failed(error),
        };
        let text = |text: &str| PreviewEvent::Text(text.to_owned());
        Ok(Box::new(Events([text("Hel\n"), text("lo"), last].into())))
    }
}

struct Events(VecDeque<PreviewEvent>);

impl PreviewResponse for Events {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<PreviewEvent>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn report() -> PreviewReport {
    PreviewReport {
        used: Used {
            credential: "cred_aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap(),
            label: "QA Sandbox".parse().unwrap(),
            environment: Environment::Sandbox,
            version: 1,
        },
        latency_us: 1_500,
        first_byte_us: Some(500),
        tokens: Tokens {
            input: Some(3),
            output: Some(0),
            ..Tokens::default()
        },
    }
}

fn refusal(code: &'static str, status: u16) -> PreviewError {
    PreviewError {
        code,
        status,
        message: "The key was revoked.".to_owned(),
        remediation: "https://keys.example.test/keys".to_owned(),
    }
}

fn prompt(other: Value) -> Value {
    let mut body = json!({
        "workspaceId": "acme", "provider": "sandbox", "model": "some-model", "prompt": "Hi\n\"you\"",
    });
    let fields = body.as_object_mut().unwrap();
    fields.extend(other.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn the_whole_response_names_the_credential_the_latency_and_the_tokens() {
    let api = Api::with_workspace().await;
    let other = json!({ "label": "QA Sandbox", "environment": "sandbox" });
    let answer = api.post(PREVIEW, &prompt(other)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(
        answer.json(),
        json!({
            "requestId": answer.header("x-keyside-request-id"),
            "provider": "sandbox",
            "model": "some-model",
            "credential": {
                "id": "cred_aaaaaaaaaaaaaaaaaaaaaaaaaa", "label": "QA Sandbox", "environment": "sandbox",
            },
            "text": "Hel\nlo",
            "latencyMs": 1.5,
            "timeToFirstByteMs": 0.5,
            "tokens": {
                "input": 3, "output": 0, "cachedInput": null, "cacheWrite": null, "reasoning": null,
            },
        })
    );
    let sent = api.model.prompts.lock().unwrap().pop().unwrap();
    assert_eq!(
        sent,
        r#"acme sandbox QA Sandbox sandbox some-model "Hi\n\"you\"" false"#
    );
}

#[tokio::test]
async fn a_stream_is_events_of_text_and_then_the_report() {
    let api = Api::with_workspace().await;
    let answer = api.post(PREVIEW, &prompt(json!({ "stream": true }))).await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("x-accel-buffering"), "no");
    let events: Vec<_> = answer.body.split_terminator("\n\n").collect();
    assert_eq!(events[0], "event: text\ndata: {\"text\":\"Hel\\n\"}");
    assert_eq!(events[1], "event: text\ndata: {\"text\":\"lo\"}");
    let done = events[2].strip_prefix("event: done\ndata: ").unwrap();
    let done: Value = serde_json::from_str(done).unwrap();
    assert_eq!(done["credential"]["label"], "QA Sandbox");
    assert_eq!(done["requestId"], answer.header("x-keyside-request-id"));
    assert_eq!(done.get("text"), None, "sent before");
    assert_eq!(events.len(), 3);
}

#[tokio::test]
async fn a_refusal_is_a_problem_with_the_code_that_a_runner_gets() {
    let api = Api::with_workspace().await;
    for stream in [false, true] {
        for (code, status, kind) in [
            ("credential_revoked", 401, "preview-refused"),
            ("path_not_allowed", 403, "preview-refused"),
            ("upstream_timeout", 504, "preview-failed"),
        ] {
            api.model.say(Err(refusal(code, status)));
            let answer = api
                .post(PREVIEW, &prompt(json!({ "stream": stream })))
                .await;
            assert_eq!(answer.kind(), kind, "{}", answer.body);
            let problem = answer.json();
            assert_eq!(problem["code"], code);
            assert_eq!(problem["detail"], "The key was revoked.");
            assert_eq!(problem["remediation"], "https://keys.example.test/keys");
        }
    }
}

#[tokio::test]
async fn a_response_that_is_cut_short_is_no_success() {
    let api = Api::with_workspace().await;
    let cut = refusal("upstream_aborted", 502);
    api.model.say(Ok(Ending::Cut(cut)));
    let whole = api.post(PREVIEW, &prompt(json!({}))).await;
    assert_eq!(whole.kind(), "preview-failed", "{}", whole.body);
    let streamed = api.post(PREVIEW, &prompt(json!({ "stream": true }))).await;
    assert_eq!(streamed.status, StatusCode::OK, "the text came before");
    let last = streamed.body.split_terminator("\n\n").last().unwrap();
    let problem = last.strip_prefix("event: error\ndata: ").unwrap();
    let problem: Value = serde_json::from_str(problem).unwrap();
    assert_eq!(problem["type"], "urn:keyside:problem:preview-failed");
    assert_eq!(problem["code"], "upstream_aborted");
    assert_eq!(
        problem["requestId"],
        streamed.header("x-keyside-request-id")
    );
}

#[tokio::test]
async fn a_stream_ends_in_an_error_once_its_token_is_revoked() {
    let api = Api::with_workspace().await;
    let new = json!({ "name": "Robin", "role": "editor" });
    let made = api.post("/api/tokens", &new).await.json();
    let (id, token) = (&made["id"], &made["token"]);
    let request = anonymous("POST", PREVIEW)
        .header(
            "authorization",
            format!("Bearer {}", token.as_str().unwrap()),
        )
        .header("content-type", "application/json")
        .body(Body::from(prompt(json!({ "stream": true })).to_string()));
    let response = api.router.clone().oneshot(request.unwrap()).await.unwrap();
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"event: text\n"), "{first:?}");
    let path = format!("/api/tokens/{}", id.as_str().unwrap());
    assert_eq!(api.delete(&path).await.status, StatusCode::OK);
    let rest = body.collect().await.unwrap().to_bytes();
    let rest = String::from_utf8_lossy(&rest);
    let problem = rest.strip_prefix("event: error\ndata: ").unwrap();
    let problem: Value = serde_json::from_str(problem).unwrap();
    assert_eq!(problem["type"], "urn:keyside:problem:unauthenticated");
}

#[tokio::test]
async fn a_wrong_prompt_is_refused_by_field_and_never_sent() {
    let api = Api::with_workspace().await;
    for (other, field) in [
        (json!({ "prompt": "" }), "prompt"),
        (json!({ "prompt": "é".repeat(16_385) }), "prompt"),
        (json!({ "model": "a b" }), "model"),
        (json!({ "model": "a?key=b" }), "model"),
        (json!({ "provider": "none" }), "provider"),
        (json!({ "environment": "test" }), "environment"),
        (json!({ "label": "" }), "label"),
        (json!({ "maxTokens": 1_000_000 }), "maxTokens"),
    ] {
        let answer = api.post(PREVIEW, &prompt(other)).await;
        assert_eq!(answer.fields(), [field], "{}", answer.body);
    }
    let elsewhere = prompt(json!({ "workspaceId": "beta" }));
    let answer = api.post(PREVIEW, &elsewhere).await;
    assert_eq!(answer.kind(), "workspace-unknown", "{}", answer.body);
    assert!(api.model.prompts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_response_that_takes_more_than_ten_minutes_is_cut_off() {
    let api = Arc::new(Api::with_workspace().await);
    // Not before: the store works on threads, for which a paused clock does not wait.
    tokio::time::pause();
    let _held = api.model.gate.hold();
    let sender = api.clone();
    let asked = tokio::spawn(async move { sender.post(PREVIEW, &prompt(json!({}))).await });
    api.model.gate.arrived(1).await;
    tokio::time::advance(Duration::from_secs(10 * 60 + 1)).await;
    let answer = asked.await.unwrap();
    assert_eq!(answer.kind(), "preview-failed", "{}", answer.body);
    assert!(answer.body.contains("after 10 minutes"), "{}", answer.body);
}

#[tokio::test]
async fn a_token_has_four_previews_at_a_time() {
    let api = Arc::new(Api::with_workspace().await);
    let held = api.model.gate.hold();
    let sending = |_| {
        let api = api.clone();
        tokio::spawn(async move { api.post(PREVIEW, &prompt(json!({}))).await.status })
    };
    let four: Vec<_> = (0..4).map(sending).collect();
    api.model.gate.arrived(4).await;
    let fifth = api.post(PREVIEW, &prompt(json!({}))).await;
    assert_eq!(fifth.kind(), "too-many-in-progress", "{}", fifth.body);
    drop(held);
    for one in four {
        assert_eq!(one.await.unwrap(), StatusCode::OK);
    }
}
