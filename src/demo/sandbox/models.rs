//! The models that the sandbox lists. It accepts any model's name.

use axum::{
    Json,
    http::{HeaderMap, Uri},
};
use serde_json::{Value, json};

use super::refusal::Dialect;

pub(super) async fn list(uri: Uri, headers: HeaderMap) -> Json<Value> {
    Json(match Dialect::of(uri.path(), &headers) {
        Dialect::OpenAi => json!({
            "object": "list",
            "data": MODELS.map(|id| json!({
                "id": id, "object": "model", "created": RELEASED, "owned_by": "keyside",
            })),
        }),
        Dialect::Anthropic => json!({
            "data": MODELS.map(|id| json!({
                "id": id, "type": "model", "display_name": id, "created_at": RELEASED_AT, "lifecycle": "active",
            })),
            "has_more": false,
            "first_id": MODELS.first(),
            "last_id": MODELS.last(),
        }),
    })
}

const MODELS: [&str; 2] = ["sandbox-large", "sandbox-small"];

/// The same time in the two providers' formats.
const RELEASED: u64 = 1_767_225_600;
const RELEASED_AT: &str = "2026-01-01T00:00:00Z";
