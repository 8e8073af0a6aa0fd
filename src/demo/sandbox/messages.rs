//! Anthropic's messages: <https://docs.anthropic.com/en/api/messages>.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Sandbox,
    refusal::JsonRequest,
    reply::{Reply, Turn},
    stream::Events,
};

#[derive(Deserialize)]
pub(super) struct Create {
    model: String,
    max_tokens: usize,
    messages: Vec<Turn>,
    #[serde(default)]
    system: Value,
    #[serde(default)]
    stream: bool,
}

pub(super) async fn create(
    State(sandbox): State<Arc<Sandbox>>,
    JsonRequest(create): JsonRequest<Create>,
) -> Response {
    let mut turns = vec![Turn::of("system", create.system)];
    turns.extend(create.messages);
    let reply = Reply::to(&turns, Some(create.max_tokens));
    let completion = Completion {
        id: format!("msg_sandbox{}", sandbox.number()),
        model: create.model,
        reply,
    };
    if create.stream {
        return completion.events().respond(sandbox.pause);
    }
    Json(completion.whole()).into_response()
}

struct Completion {
    id: String,
    model: String,
    reply: Reply,
}

impl Completion {
    fn whole(&self) -> Value {
        let content = json!([{ "type": "text", "text": self.reply.text(), "citations": null }]);
        let tokens = self.reply.output_tokens();
        self.message(content, Some(self.stop_reason()), tokens)
    }

    /// Usage is reported twice, the second time cumulatively: `message_start` has the input and the
    /// first output token, `message_delta` the whole output.
    fn events(&self) -> Events {
        let mut events = Events::default();
        let begun = self.message(json!([]), None, 1);
        events.named(&json!({ "type": "message_start", "message": begun }));
        events.named(&json!({
            "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" },
        }));
        events.named(&json!({ "type": "ping" }));
        for piece in &self.reply.pieces {
            events.named(&json!({
                "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": piece },
            }));
        }
        events.named(&json!({ "type": "content_block_stop", "index": 0 }));
        events.named(&json!({
            "type": "message_delta",
            "delta": { "stop_reason": self.stop_reason(), "stop_sequence": null },
            "usage": { "output_tokens": self.reply.output_tokens() },
        }));
        events.named(&json!({ "type": "message_stop" }));
        events
    }

    fn message(&self, content: Value, stop_reason: Option<&str>, output_tokens: usize) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": null,
            "usage": {
                "input_tokens": self.reply.input_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": output_tokens,
                "service_tier": "standard",
            },
        })
    }

    fn stop_reason(&self) -> &'static str {
        self.reply.ending("end_turn", "max_tokens")
    }
}
