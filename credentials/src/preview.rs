//! Sends a person's prompt to a provider, along the same steps as a runner's request. The data
//! plane does it; the admin API asks for it, and the binary connects the two.

use std::task::{Context, Poll};

use async_trait::async_trait;
use keyside_config::ProviderId;

use crate::{
    model::{Environment, Label, RequestId, WorkspaceId},
    runs::{Tokens, Used},
};

/// A prompt to send. Neither logged nor stored.
pub struct Prompt {
    /// The request's id, which its run record and log lines have too.
    pub request_id: RequestId,
    /// The workspace whose credential is used.
    pub workspace: WorkspaceId,
    /// The provider.
    pub provider: ProviderId,
    /// The label of a credential; `None` for the default.
    pub label: Option<Label>,
    /// The required environment; `None` for any.
    pub environment: Option<Environment>,
    /// The model; [`keyside_config::is_model`] holds.
    pub model: String,
    /// The prompt.
    pub text: String,
    /// Whether to ask the provider for a stream.
    pub stream: bool,
}

/// Sends prompts.
#[async_trait]
pub trait Preview: Send + Sync + 'static {
    /// Sends a prompt, and returns when the head of a successful response has arrived. Dropping the
    /// future or the response cancels the request.
    ///
    /// # Errors
    /// The refusal that a runner would get, or the provider's.
    async fn send(&self, prompt: Prompt) -> Result<Box<dyn PreviewResponse>, PreviewError>;
}

/// A response to a prompt, as it arrives.
pub trait PreviewResponse: Send + 'static {
    /// The next event. The last one is [`PreviewEvent::Done`] or [`PreviewEvent::Failed`]; `None`
    /// after it.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<PreviewEvent>>;
}

/// A part of a response.
pub enum PreviewEvent {
    /// Generated text, to append to the text so far.
    Text(String),
    /// The response is complete.
    Done(PreviewReport),
    /// The response ended before it was complete.
    Failed(PreviewError),
}

/// What a preview has used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewReport {
    /// The credential that answered.
    pub used: Used,
    /// From the request to the response's last byte, in microseconds.
    pub latency_us: u64,
    /// From the request to the first byte of the response's body, in microseconds.
    pub first_byte_us: Option<u64>,
    /// The tokens, as the provider reported them.
    pub tokens: Tokens,
}

/// Why a preview failed. Never contains the prompt, or text of the provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PreviewError {
    /// The code of a refusal, as runners get it; `provider_error` for a response that is not a
    /// success; the run's outcome if the response ended early.
    pub code: &'static str,
    /// The refusal's HTTP status, or 502 where the provider is at fault.
    pub status: u16,
    /// What is wrong.
    pub message: String,
    /// The page where a person can fix it, or a text if there is none.
    pub remediation: String,
}
