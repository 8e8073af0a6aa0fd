//! The models that the sandbox offers. It answers to any model's name; these are the ones it lists.

use axum::Json;
use axum::http::{HeaderMap, Uri};
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

/// The same moment in the two providers' forms.
const RELEASED: u64 = 1_767_225_600;
const RELEASED_AT: &str = "2026-01-01T00:00:00Z";
