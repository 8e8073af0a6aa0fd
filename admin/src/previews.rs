//! Sends a person's prompt with a stored credential, along the steps of a runner's request, and
//! says which credential answered: for `/api/preview` and for the page Preview.

mod events;

use std::{future::poll_fn, sync::Arc};

use axum::response::{IntoResponse, Response};
use keyside_config::{Catalogue, Provider, ProviderId};
use keyside_credentials::{
    RequestId,
    preview::{PreviewEvent, PreviewReport, PreviewResponse, Prompt},
};
use tokio::time::timeout;

use self::events::EventStream;
use crate::{
    access::Caller,
    concurrency::{SEND_DEADLINE, WorkKind},
    problem::{Kind, Problem},
    state::AdminState,
    wire::{NewPreview, PreviewCredential, PreviewView, milliseconds},
};

/// What comes of a prompt.
pub(crate) enum Answer {
    /// All of it.
    Whole(Box<PreviewView>),
    /// Server-sent events, as they arrive.
    Stream(Response),
}

/// Sends the prompt, unless the client disconnects before the answer is there. A whole answer may
/// take as long as sending a stream may.
///
/// # Errors
/// The workspace or provider is unknown, too many previews are in progress, or the request is
/// refused as a runner's would be.
pub(crate) async fn send(
    state: &AdminState,
    caller: &Caller,
    new: NewPreview,
) -> Result<Answer, Problem> {
    let workspace = caller.workspace(&state.registry, new.workspace_id.as_str())?;
    let provider = promptable(state, &new.provider)?;
    let permit = state.concurrency.try_acquire(WorkKind::Preview, caller)?;
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
            let events = EventStream {
                response,
                asked: Some(asked),
                registry: state.registry.clone(),
                caller: caller.clone(),
            };
            let response = permit.hold_until_sent(events.into_response());
            return Ok::<Answer, Problem>(Answer::Stream(response));
        }
        let view = whole(response, asked).await?;
        caller.still_has_access(&state.registry)?;
        Ok(Answer::Whole(Box::new(view)))
    };
    // Nobody would read the rest, which costs money.
    tokio::select! {
        biased;
        () = caller.client().disconnected() => Err(disconnected()),
        answered = timeout(SEND_DEADLINE, answered) => answered.unwrap_or_else(|_| Err(overdue())),
    }
}

/// The providers that can be sent a prompt.
pub(crate) fn providers(catalogue: &Catalogue) -> impl Iterator<Item = &Arc<Provider>> {
    catalogue
        .offered()
        .filter(|provider| is_promptable(provider))
}

fn is_promptable(provider: &Provider) -> bool {
    provider.prompt.is_some()
}

/// The provider, if the catalogue says how it is sent a prompt.
fn promptable<'a>(state: &'a AdminState, id: &str) -> Result<&'a Provider, Problem> {
    let provider: &Provider = state.known_provider(id)?;
    match is_promptable(provider) {
        true => Ok(provider),
        false => Err(Problem::field(
            "provider",
            "the catalogue does not say how it is sent a prompt: set `prompt` in its settings",
        )),
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
    Err(unreported())
}

fn unreported() -> Problem {
    Problem::internal("a preview ended without a report")
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
