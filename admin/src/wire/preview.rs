//! A preview on the wire: the prompt, and what answered it.

use keyside_config::{ProviderId, is_model};
use keyside_credentials::{CredentialId, Environment, Label, WorkspaceId, runs::Tokens};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::read::{FromText, optional, required, text};
use crate::schemas::types;

/// A prompt to send to a provider, with the credential that a runner's request would get.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPreview {
    /// The workspace whose credential is used.
    #[serde(deserialize_with = "required")]
    #[schema(value_type = types::WorkspaceId)]
    pub workspace_id: WorkspaceId,
    /// The id of a provider in the catalogue.
    #[serde(deserialize_with = "text::<_, 64>")]
    pub provider: String,
    /// The model, by the provider's name for it; for Azure OpenAI the name of a deployment.
    #[serde(deserialize_with = "required")]
    #[schema(value_type = String, pattern = "^[A-Za-z0-9._:/@-]{1,256}$")]
    pub model: Model,
    /// The prompt. Neither logged nor stored.
    #[serde(deserialize_with = "required")]
    #[schema(value_type = String, min_length = 1, max_length = 16384)]
    pub prompt: PromptText,
    /// The label of a credential; by default the default one is used.
    #[serde(default, deserialize_with = "optional")]
    #[schema(value_type = Option<types::Label>)]
    pub label: Option<Label>,
    /// The environment that the credential must be of; any by default.
    #[schema(value_type = Option<types::Environment>)]
    pub environment: Option<Environment>,
    /// Whether to send the response as server-sent events; false by default.
    pub stream: Option<bool>,
}

/// What answered a prompt.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviewView {
    /// The id of this request, of its run record, and of its log lines.
    pub request_id: String,
    /// The provider that answered.
    #[schema(value_type = String)]
    pub provider: ProviderId,
    /// The model, as in the request.
    pub model: String,
    /// The credential that was used.
    pub credential: PreviewCredential,
    /// The generated text; absent in a stream, which has sent it before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// From the request to the last byte of the response.
    pub latency_ms: f64,
    /// From the request to the first byte of the response's body; null if it had none.
    pub time_to_first_byte_ms: Option<f64>,
    /// The tokens that the provider reports.
    pub tokens: TokensView,
}

/// The credential that a preview used.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviewCredential {
    /// Its id.
    #[schema(value_type = String)]
    pub id: CredentialId,
    /// Its label.
    #[schema(value_type = types::Label)]
    pub label: Label,
    /// Its environment.
    #[schema(value_type = types::Environment)]
    pub environment: Environment,
}

/// Tokens as the provider reports them; null if it does not, which differs from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokensView {
    /// All billed input tokens, including cached ones.
    pub input: Option<u64>,
    /// All billed output tokens, including reasoning.
    pub output: Option<u64>,
    /// Input tokens read from a cache.
    pub cached_input: Option<u64>,
    /// Input tokens written to a cache.
    pub cache_write: Option<u64>,
    /// Output tokens used for reasoning.
    pub reasoning: Option<u64>,
}

impl From<Tokens> for TokensView {
    fn from(tokens: Tokens) -> Self {
        Self {
            input: tokens.input,
            output: tokens.output,
            cached_input: tokens.cached_input,
            cache_write: tokens.cache_write,
            reasoning: tokens.reasoning,
        }
    }
}

/// The event `text` of a stream: generated text, to append to the text so far.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct PreviewText {
    /// The text.
    pub text: String,
}

/// The name of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Model(pub String);

impl FromText for Model {
    fn from_text(text: &str) -> Result<Self, String> {
        match is_model(text) {
            true => Ok(Self(text.to_owned())),
            false => Err("expected 1 to 256 letters, digits and -._:/@".to_owned()),
        }
    }
}

/// A prompt. Has no Debug, so that it is not logged by accident.
#[derive(Serialize)]
#[serde(transparent)]
pub struct PromptText(pub String);

impl FromText for PromptText {
    fn from_text(text: &str) -> Result<Self, String> {
        match (1..=PROMPT_MAX).contains(&text.chars().count()) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("expected 1 to {PROMPT_MAX} characters")),
        }
    }
}

/// Characters of a prompt.
const PROMPT_MAX: usize = 16_384;
