//! `/api/preview`: sends a person's prompt with a stored credential.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};

use crate::{
    access::Caller,
    body::JsonBody,
    form,
    previews::{self, Answer},
    problem::Problem,
    state::AdminState,
    wire::{NewPreview, PreviewView},
};

/// Sends a prompt, and returns the generated text with the credential, the latency and the tokens.
///
/// The provider may charge for it: at most 1,024 tokens are generated. The request is refused as a
/// runner's would be, with the same `code` and `remediation`. With `stream`, the response is
/// `text/event-stream`: events `text` with generated text, then `done` with the rest of this
/// object, or `error` with a problem.
#[utoipa::path(
    post, path = "/api/preview", tag = "previews", operation_id = "preview",
    request_body = NewPreview,
    responses(
        (status = 200, description = "The response", content((PreviewView = "application/json"), (String = "text/event-stream"))),
        (status = 404), (status = 409), (status = 502)
    )
)]
pub(super) async fn send(
    State(state): State<AdminState>,
    caller: Caller,
    body: JsonBody,
) -> Result<Response, Problem> {
    let new: NewPreview = form::read(body.bytes())?;
    Ok(match previews::send(&state, &caller, new).await? {
        Answer::Whole(view) => Json(view).into_response(),
        Answer::Stream(response) => response,
    })
}
