//! OpenAI's Responses: <https://platform.openai.com/docs/api-reference/responses>.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Sandbox, now,
    refusal::{Dialect, JsonRequest, Refusal},
    reply::{Reply, Turn},
    stream::Events,
};

#[derive(Deserialize)]
pub(super) struct Create {
    model: String,
    input: Value,
    #[serde(default)]
    instructions: Value,
    #[serde(default)]
    stream: bool,
    max_output_tokens: Option<usize>,
}

pub(super) async fn create(
    State(sandbox): State<Arc<Sandbox>>,
    JsonRequest(create): JsonRequest<Create>,
) -> Result<Response, Refusal> {
    let mut turns = vec![Turn::of("system", create.instructions.clone())];
    turns.extend(turns_of(create.input)?);
    let number = sandbox.number();
    let completion = Completion {
        id: format!("resp_sandbox{number}"),
        message: format!("msg_sandbox{number}"),
        created: now(),
        model: create.model,
        instructions: create.instructions,
        limit: create.max_output_tokens,
        reply: Reply::to(&turns, create.max_output_tokens),
    };
    if create.stream {
        return Ok(completion.events().respond(sandbox.pause));
    }
    Ok(Json(completion.finished()).into_response())
}

/// `input` is a string from the user, or a list of items. Messages count, tool results do not.
fn turns_of(input: Value) -> Result<Vec<Turn>, Refusal> {
    match input {
        text @ Value::String(_) => Ok(vec![Turn::of("user", text)]),
        Value::Array(items) => Ok(items
            .into_iter()
            .filter_map(|item| serde_json::from_value(item).ok())
            .collect()),
        _ => Err(Refusal::request(
            Dialect::OpenAi,
            "input: expected a string or a list of items",
        )),
    }
}

struct Completion {
    id: String,
    message: String,
    created: u64,
    model: String,
    instructions: Value,
    limit: Option<usize>,
    reply: Reply,
}

impl Completion {
    fn finished(&self) -> Value {
        let status = self.final_status();
        let mut response = self.response(status, json!([self.item(status)]));
        if self.reply.cut {
            response["incomplete_details"] = json!({ "reason": "max_output_tokens" });
        }
        response["completed_at"] = json!(now());
        response["usage"] = json!({
            "input_tokens": self.reply.input_tokens,
            "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 },
            "output_tokens": self.reply.output_tokens(),
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": self.reply.total_tokens(),
        });
        response
    }

    fn events(&self) -> Events {
        let mut events = Events::default();
        let mut send = |name: &str, mut event: Value| {
            event["type"] = json!(name);
            event["sequence_number"] = json!(events.len());
            events.named(&event);
        };
        let text = self.reply.text();
        let started = self.response("in_progress", json!([]));
        let item = |item: Value| json!({ "output_index": 0, "item": item });
        let part = |part: Value| json!({ "item_id": self.message, "output_index": 0, "content_index": 0, "part": part });

        let status = self.final_status();
        send("response.created", json!({ "response": started }));
        send("response.in_progress", json!({ "response": started }));
        send("response.output_item.added", item(self.empty_item()));
        send("response.content_part.added", part(text_part("")));
        for piece in &self.reply.pieces {
            let delta = self.text_event("delta", piece);
            send("response.output_text.delta", delta);
        }
        let done = self.text_event("text", &text);
        send("response.output_text.done", done);
        send("response.content_part.done", part(text_part(&text)));
        send("response.output_item.done", item(self.item(status)));
        let last = format!("response.{status}");
        send(&last, json!({ "response": self.finished() }));
        events
    }

    fn response(&self, status: &str, output: Value) -> Value {
        json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": null,
            "instructions": self.instructions,
            "max_output_tokens": self.limit,
            "model": self.model,
            "output": output,
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "reasoning": { "effort": null, "summary": null },
            "service_tier": "default",
            "store": false,
            "temperature": 1.0,
            "text": { "format": { "type": "text" } },
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": null,
            "user": null,
            "metadata": {},
        })
    }

    fn item(&self, status: &str) -> Value {
        json!({
            "id": self.message,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [text_part(&self.reply.text())],
        })
    }

    fn empty_item(&self) -> Value {
        let mut item = self.item("in_progress");
        item["content"] = json!([]);
        item
    }

    fn text_event(&self, field: &str, text: &str) -> Value {
        let mut event = json!({ "item_id": self.message, "output_index": 0, "content_index": 0, "logprobs": [] });
        event[field] = json!(text);
        event
    }

    fn final_status(&self) -> &'static str {
        self.reply.ending("completed", "incomplete")
    }
}

fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}
