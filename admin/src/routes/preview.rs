//! `/api/preview`: sends a person's prompt with a stored credential, along the steps of a runner's
//! request, and says which credential answered.

mod events;

use std::{future::poll_fn, sync::Arc};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use keyside_config::{Catalogue, Provider, ProviderId};
use keyside_credentials::{
    RequestId,
    preview::{PreviewEvent, PreviewReport, PreviewResponse, Prompt},
};
use tokio::time::timeout;

use self::events::EventStream;
use crate::{
    access::Caller,
    body::JsonBody,
    concurrency::{SEND_DEADLINE, WorkKind},
    form,
    problem::{Kind, Problem},
    state::AdminState,
    wire::{NewPreview, PreviewCredential, PreviewView},
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
    let workspace = caller.workspace(&state.registry, new.workspace_id.as_str())?;
    let provider = promptable(&state.catalogue, &new.provider)?;
    let permit = state.concurrency.try_acquire(WorkKind::Preview, &caller)?;
    let stream = new.stream.unwrap_or(false);
    let asked = Asked {
        request_id: caller.request_id(),
        provider: provider.id.clone(),
        model: new.model.0.clone(),
    };
    let prompt = Prompt {
        request_id: asked.request_id,
        workspace: workspace.id,
        provider: asked.provider.clone(),
        label: new.label,
        environment: new.environment,
        model: new.model.0,
        text: new.prompt.0,
        stream,
    };
    let answered = async {
        let response = state.preview.send(prompt).await?;
        if stream {
            let response = EventStream::new(response, asked).into_response();
            return Ok::<Response, Problem>(permit.hold_until_sent(response));
        }
        Ok(Json(whole(response, asked).await?).into_response())
    };
    // Nobody would read the rest, which costs money.
    tokio::select! {
        biased;
        () = caller.client().disconnected() => Err(disconnected()),
        answered = timeout(SEND_DEADLINE, answered) => answered.unwrap_or_else(|_| Err(overdue())),
    }
}

/// What the report repeats of the request.
struct Asked {
    request_id: RequestId,
    provider: ProviderId,
    model: String,
}

impl Asked {
    fn view(self, report: PreviewReport, text: Option<String>) -> PreviewView {
        PreviewView {
            request_id: self.request_id.as_str().to_owned(),
            provider: self.provider,
            model: self.model,
            credential: PreviewCredential {
                id: report.used.credential,
                label: report.used.label,
                environment: report.used.environment,
            },
            text,
            latency_ms: milliseconds(report.latency_us),
            time_to_first_byte_ms: report.first_byte_us.map(milliseconds),
            tokens: report.tokens.into(),
        }
    }
}

/// Collects a response to its end.
async fn whole(
    mut response: Box<dyn PreviewResponse>,
    asked: Asked,
) -> Result<PreviewView, Problem> {
    let mut text = String::new();
    while let Some(event) = poll_fn(|context| response.poll_next(context)).await {
        match event {
            PreviewEvent::Text(more) => text += &more,
            PreviewEvent::Done(report) => return Ok(asked.view(report, Some(text))),
            PreviewEvent::Failed(error) => return Err(error.into()),
        }
    }
    Err(Problem::internal("a preview ended without a report"))
}

/// The provider, if the catalogue says how it is sent a prompt.
fn promptable<'a>(catalogue: &'a Catalogue, id: &str) -> Result<&'a Arc<Provider>, Problem> {
    let provider = catalogue.get(id);
    let provider =
        provider.ok_or_else(|| Problem::field("provider", "the catalogue has no such provider"))?;
    match provider.prompt.is_some() {
        true => Ok(provider),
        false => Err(Problem::field(
            "provider",
            "the catalogue does not say how it is sent a prompt: set `prompt` in its settings",
        )),
    }
}

fn disconnected() -> Problem {
    let detail = "The client disconnected before the response was complete.";
    let remedy = "Keep the connection open, or ask for a stream.";
    Problem::new(Kind::PreviewFailed, detail, remedy)
}

fn overdue() -> Problem {
    let minutes = SEND_DEADLINE.as_secs() / 60;
    let detail = format!("The response was not complete after {minutes} minutes.");
    let remedy =
        "Ask for a shorter answer, or for a stream. The provider may charge for what it generated.";
    Problem::new(Kind::PreviewFailed, detail, remedy)
}

fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1000.0
}
