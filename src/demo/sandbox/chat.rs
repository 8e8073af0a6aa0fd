//! OpenAI's chat completions: <https://platform.openai.com/docs/api-reference/chat>.

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
    refusal::JsonRequest,
    reply::{Reply, Turn},
    stream::Events,
};

#[derive(Deserialize)]
pub(super) struct Chat {
    model: String,
    messages: Vec<Turn>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

pub(super) async fn complete(
    State(sandbox): State<Arc<Sandbox>>,
    JsonRequest(chat): JsonRequest<Chat>,
) -> Response {
    let limit = chat.max_completion_tokens.or(chat.max_tokens);
    let reply = Reply::to(&chat.messages, limit);
    let completion = Completion {
        id: format!("chatcmpl-sandbox{}", sandbox.number()),
        created: now(),
        model: chat.model,
        reply,
    };
    if !chat.stream {
        return Json(completion.whole()).into_response();
    }
    let usage = chat.stream_options.is_some_and(|with| with.include_usage);
    completion.events(usage).respond(sandbox.pause)
}

struct Completion {
    id: String,
    created: u64,
    model: String,
    reply: Reply,
}

impl Completion {
    fn whole(&self) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": self.reply.text(), "refusal": null, "annotations": [] },
                "logprobs": null,
                "finish_reason": self.finish_reason(),
            }],
            "usage": self.usage(),
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        })
    }

    /// If usage is requested, every chunk but the last has `"usage": null`, as with OpenAI. That is
    /// not a count of zero, and a meter that reads it as one is wrong.
    fn events(&self, usage: bool) -> Events {
        let mut events = Events::default();
        let mut chunk = |choices: Value, counts: Value| {
            let mut chunk = json!({
                "id": self.id,
                "object": "chat.completion.chunk",
                "created": self.created,
                "model": self.model,
                "service_tier": "default",
                "system_fingerprint": FINGERPRINT,
                "choices": choices,
            });
            if usage {
                chunk["usage"] = counts;
            }
            events.data(&chunk);
        };
        let begun = json!({ "role": "assistant", "content": "", "refusal": null });
        chunk(choice(begun, None), Value::Null);
        for piece in &self.reply.pieces {
            chunk(choice(json!({ "content": piece }), None), Value::Null);
        }
        chunk(choice(json!({}), Some(self.finish_reason())), Value::Null);
        if usage {
            chunk(json!([]), self.usage());
        }
        events.done();
        events
    }

    fn finish_reason(&self) -> &'static str {
        self.reply.ending("stop", "length")
    }

    fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.reply.input_tokens,
            "completion_tokens": self.reply.output_tokens(),
            "total_tokens": self.reply.total_tokens(),
            "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        })
    }
}

fn choice(delta: Value, finish_reason: Option<&str>) -> Value {
    json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason }])
}

const FINGERPRINT: &str = "fp_keyside_sandbox";
