//! Sends a person's prompt through all steps of a request, as if a runner had sent it.
//!
//! The gateway gets the request that the catalogue describes, without a credential, and decides as
//! it does for any other; only the socket is missing. The response is read here and nowhere else:
//! neither prompt nor text is logged or stored.

mod reader;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{
    Method, Request, Response, StatusCode,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT},
    request::Parts as Head,
};
use http_body::Body as _;
use http_body_util::BodyExt;
use keyside_config::{AdminPage, PromptText, Provider};
use keyside_credentials::{
    preview::{Preview, PreviewError, PreviewEvent, PreviewReport, PreviewResponse, Prompt},
    runs::RunKind,
};
use tokio::sync::Semaphore;

use self::reader::{Reader, Unreadable};
use crate::{
    activity::Activity,
    drain::Drain,
    gateway::{Body, Gateway},
    headers::{ENVIRONMENT, LABEL, OWN_USER_AGENT, encode_label},
    refusal::{Explanation, Refusal, RefusalContext, sanitize},
    request_body::RequestBody,
    request_record::{Arrival, InProcess},
};

/// A gateway for prompts. Its connections live on the runtime that calls it.
pub(crate) struct InProcessPreview {
    gateway: Gateway,
    /// Bounds the open client connections. A preview counts as one.
    connection_limit: Arc<Semaphore>,
    drain: Drain,
}

impl InProcessPreview {
    pub(crate) fn new(gateway: Gateway, connection_limit: Arc<Semaphore>, drain: Drain) -> Self {
        Self {
            gateway,
            connection_limit,
            drain,
        }
    }
}

#[async_trait]
impl Preview for InProcessPreview {
    async fn send(&self, prompt: Prompt) -> Result<Box<dyn PreviewResponse>, PreviewError> {
        let context = |provider| RefusalContext {
            workspace: Some(prompt.workspace.as_str()),
            provider,
            ..RefusalContext::default()
        };
        let refused = |refusal: Refusal, provider| {
            let explanation = refusal.explain(self.gateway.links(), &context(provider));
            PreviewError::from(&explanation)
        };
        let provider = self.gateway.provider(&prompt.provider);
        let provider = provider.ok_or_else(|| refused(Refusal::ProviderUnknown, None))?;
        let slot = self.connection_limit.clone().try_acquire_owned();
        let slot = slot.map_err(|_| refused(Refusal::Overloaded, Some(&**provider)))?;
        let in_process = InProcess::default();
        let request = request(provider, &prompt, in_process.clone());
        let (head, body) = request.ok_or_else(|| refused(NOT_SENDABLE, Some(&**provider)))?;
        let activity = Activity::new(self.drain.clone(), slot);
        let in_flight = activity.begin(false);
        let arrival = Arrival::now(prompt.request_id);
        let request = (head, RequestBody::from_bytes(body));
        let response = self.gateway.respond(request, true, arrival, in_flight);
        let response = response.await;
        if let Some(explanation) = response.extensions().get::<Explanation>() {
            return Err(explanation.into());
        }
        if !response.status().is_success() {
            let error = self.provider_error(provider, &prompt, &in_process, response);
            return Err(error.await);
        }
        Ok(Box::new(Answer {
            reader: Reader::new(
                provider.clone(),
                response.headers(),
                response.body().text_scrub(),
            ),
            body: Some(response.into_body()),
            last: None,
            in_process,
            activity,
            links: self.gateway.links().map(Into::into),
            provider: provider.clone(),
        }))
    }
}

impl InProcessPreview {
    /// The provider's own error. Its text may quote the prompt or a part of the key, so only a name
    /// such as `model_not_found` is taken from it.
    async fn provider_error(
        &self,
        provider: &Provider,
        prompt: &Prompt,
        in_process: &InProcess,
        response: Response<Body>,
    ) -> PreviewError {
        let status = response.status();
        let body = beginning(response.into_body()).await;
        let key = to_the_key(in_process);
        let name = reader::error_name(&body);
        let catalogue = self.gateway.catalogue();
        let name = name.filter(|name| !sanitize::looks_like_key(name, catalogue));
        let named = name.map_or_else(String::new, |name| format!(" ({name})"));
        let is_about_key = matches!(status.as_u16(), 401..=403);
        let remediation = match (self.gateway.links(), is_about_key) {
            (Some(links), true) => {
                let workspace = Some(prompt.workspace.as_str());
                AdminPage::Keys.url(links, workspace, Some(&provider.id))
            }
            _ => own_pages(provider),
        };
        PreviewError {
            code: PROVIDER_ERROR,
            status: StatusCode::BAD_GATEWAY.as_u16(),
            message: format!(
                "{} answered {}{named}{key}. {}",
                provider.name,
                status.as_u16(),
                advice(status)
            ),
            remediation,
        }
    }
}

impl From<&Explanation> for PreviewError {
    fn from(explanation: &Explanation) -> Self {
        Self {
            code: explanation.code,
            status: explanation.status.as_u16(),
            message: explanation.message.clone(),
            remediation: explanation.remediation.clone(),
        }
    }
}

/// The request that a runner would send. `None` if the catalogue does not say how, or a value does
/// not fit into a request.
fn request(provider: &Provider, prompt: &Prompt, origin: InProcess) -> Option<(Head, Bytes)> {
    let rule = provider.prompt.as_ref()?;
    let (path, body) = rule.request(
        prompt.stream,
        PromptText {
            model: &prompt.model,
            prompt: &prompt.text,
            max_tokens: MAX_TOKENS,
        },
    );
    let target = format!("/w/{}/{}{path}", prompt.workspace, provider.id);
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(target)
        .header(HOST, "localhost")
        .header(USER_AGENT, OWN_USER_AGENT)
        .header(ACCEPT, "*/*")
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_LENGTH, body.len())
        .extension(RunKind::Preview)
        .extension(origin);
    if let Some(label) = &prompt.label {
        request = request.header(LABEL, &*encode_label(label.as_str()));
    }
    if let Some(environment) = prompt.environment {
        request = request.header(ENVIRONMENT, environment.as_str());
    }
    let (head, ()) = request.body(()).ok()?.into_parts();
    Some((head, body.into()))
}

/// The start of an error's body. A response that is cut short has no name for its error.
async fn beginning(mut body: Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_ERROR
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    bytes
}

/// Which key the request had, for a message; empty until the body has been dropped.
fn to_the_key(in_process: &InProcess) -> String {
    let used = in_process.run().and_then(|run| run.used.as_ref());
    used.map_or_else(String::new, |used| {
        format!(" to the key \"{}\"", used.label.as_str())
    })
}

/// What to do about an error of the provider.
fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "Replace the key.",
        402 => "Check the account's balance.",
        403 => "Check the key's permissions.",
        429 => "Wait a moment and try again, or raise the key's limits with the provider.",
        500.. => "The provider fails at the moment: try again later.",
        _ => "Check the name of the model.",
    }
}

/// The provider's documentation, or a text if the catalogue has none.
fn own_pages(provider: &Provider) -> String {
    match provider.links.docs.as_str() {
        "" => format!("See the documentation of {}.", provider.name),
        docs => docs.to_owned(),
    }
}

/// A successful response.
struct Answer {
    reader: Reader,
    /// `None` once it has ended.
    body: Option<Body>,
    /// The event after the last text.
    last: Option<PreviewEvent>,
    in_process: InProcess,
    activity: Arc<Activity>,
    links: Option<Box<str>>,
    provider: Arc<Provider>,
}

impl PreviewResponse for Answer {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<PreviewEvent>> {
        loop {
            let Some(body) = &mut self.body else {
                return Poll::Ready(self.last.take());
            };
            let frame = match Pin::new(body).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    // There is no socket; what was polled is delivered.
                    self.activity.flushed();
                    return Poll::Pending;
                }
            };
            let text = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.reader.push(&data),
                    // Trailers.
                    Err(_) => continue,
                },
                Some(Err(_)) => {
                    self.last = Some(self.cut_short());
                    Ok(self.reader.rest())
                }
                None => {
                    let rest = self.reader.finish();
                    self.body = None;
                    self.last = Some(self.report());
                    rest
                }
            };
            match text {
                Ok(text) if text.is_empty() => {}
                Ok(text) => return Poll::Ready(Some(PreviewEvent::Text(text))),
                Err(unreadable) => return Poll::Ready(Some(self.unreadable(unreadable))),
            }
        }
    }
}

impl Answer {
    /// What the run record says, which is written when the body is dropped.
    fn report(&self) -> PreviewEvent {
        let run = self.in_process.run();
        match run.and_then(|run| Some((run, run.used.clone()?))) {
            Some((run, used)) => PreviewEvent::Done(PreviewReport {
                used,
                latency_us: run.latency_us,
                first_byte_us: run.first_byte_us,
                tokens: run.tokens,
            }),
            None => self.failed(PROVIDER_ERROR, "ended without a record"),
        }
    }

    fn cut_short(&mut self) -> PreviewEvent {
        self.body = None;
        let code = self.in_process.run().map_or(CUT, |run| run.outcome);
        self.failed(code, "was cut off before its end")
    }

    fn unreadable(&mut self, unreadable: Unreadable) -> PreviewEvent {
        (self.body, self.last) = (None, None);
        self.failed(
            PROVIDER_ERROR,
            match unreadable {
                Unreadable::Error => "ended in an error of the provider",
                Unreadable::TooLarge => "is larger than a preview reads",
                Unreadable::NotJson => "is not in the form that the catalogue expects",
            },
        )
    }

    fn failed(&self, code: &'static str, what: &str) -> PreviewEvent {
        PreviewEvent::Failed(PreviewError {
            code,
            status: StatusCode::BAD_GATEWAY.as_u16(),
            message: format!(
                "The response of {}{} {what}. What had arrived may be charged for. Try again.",
                self.provider.name,
                to_the_key(&self.in_process)
            ),
            remediation: match &self.links {
                Some(links) => AdminPage::Guide.url(links, None, None),
                None => own_pages(&self.provider),
            },
        })
    }
}

/// The most tokens that a preview lets the provider generate. docs/API.md names it.
const MAX_TOKENS: u32 = 1024;
/// Bytes of an error that are searched for its name.
const MAX_ERROR: usize = 16 << 10;
/// The code of a failure that is the provider's.
const PROVIDER_ERROR: &str = "provider_error";
/// The code if the run has no outcome.
const CUT: &str = "upstream_aborted";
const NOT_SENDABLE: Refusal =
    Refusal::RequestMalformed("is a prompt that the catalogue has no request for");

#[cfg(test)]
mod tests {
    use keyside_config::Catalogue;
    use keyside_credentials::RequestId;

    use super::*;

    fn prompt(label: Option<&str>) -> Prompt {
        Prompt {
            request_id: RequestId::next(),
            workspace: "acme".parse().unwrap(),
            provider: "gemini".parse().unwrap(),
            label: label.map(|label| label.parse().unwrap()),
            environment: None,
            model: "some-model".to_owned(),
            text: "Hello\n\"world\"".to_owned(),
            stream: true,
        }
    }

    #[test]
    fn the_advice_is_about_what_the_status_says() {
        for (status, word) in [
            (400, "model"),
            (401, "key"),
            (402, "balance"),
            (403, "permissions"),
            (404, "model"),
            (429, "limits"),
            (500, "later"),
            (529, "later"),
        ] {
            let advice = advice(StatusCode::from_u16(status).unwrap());
            assert!(advice.contains(word), "{status}: {advice}");
        }
    }

    #[test]
    fn a_prompt_becomes_the_request_of_a_runner_without_a_credential() {
        let catalogue = Catalogue::builtin();
        let gemini = catalogue.get("gemini").unwrap();
        let made = request(gemini, &prompt(Some("QA 100%")), InProcess::default());
        let (head, body) = made.unwrap();
        assert_eq!(
            head.uri.to_string(),
            "/w/acme/gemini/v1beta/models/some-model:streamGenerateContent?alt=sse"
        );
        assert_eq!(head.headers[LABEL], "QA 100%25");
        assert_eq!(head.headers[CONTENT_LENGTH], body.len().to_string());
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["contents"][0]["parts"][0]["text"], "Hello\n\"world\"");
        assert_eq!(body["generationConfig"]["maxOutputTokens"], MAX_TOKENS);
        assert!(head.extensions.get::<InProcess>().is_some());
    }
}
