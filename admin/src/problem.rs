//! Error responses: RFC 9457 problem documents.
//!
//! A problem names the error, the fields and the next step. It never repeats a value of the
//! request, which may be a secret in the wrong field.

mod conversions;
mod kind;

use std::mem;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use keyside_credentials::{ActorId, StorageError, preview::PreviewError};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use self::kind::Kind;
use crate::wire::CheckView;

/// An error response.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: Box<str>,
    remedy: Box<str>,
    errors: Box<[FieldError]>,
    origin: Option<Box<Origin>>,
    headers: Box<[(HeaderName, HeaderValue)]>,
    /// The actor whose access was refused, if it is to be audited.
    refused: Option<ActorId>,
    /// The internal cause: only for the log.
    cause: Option<Box<str>>,
    /// Shown to a person instead of the JSON document.
    page: Option<Box<Page>>,
}

/// The HTML of a problem.
#[derive(Clone, Debug)]
struct Page(String);

/// What the problem repeats of another error. Boxed, because few problems have one.
#[derive(Clone, Debug)]
enum Origin {
    /// The proxy refused the request, as it would refuse a runner's.
    Refusal(PreviewError),
    Check(FailedCheck),
}

/// A live check because of which a secret was not stored.
#[derive(Clone, Debug)]
struct FailedCheck {
    view: CheckView,
    /// The next step, if the cause has one.
    remedy: Option<String>,
}

/// An error of one field of a body, or one parameter of a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// The name in the request.
    pub(crate) field: String,
    /// A JSON pointer (RFC 6901) in fragment form; absent for parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// What was expected.
    pub(crate) detail: String,
}

impl FieldError {
    /// About a field of the body.
    pub(crate) fn field(name: &str, detail: impl Into<String>) -> Self {
        Self {
            pointer: Some(format!("#/{name}")),
            ..Self::parameter(name, detail)
        }
    }

    /// About a parameter of the query.
    pub(crate) fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self {
            field: name.to_owned(),
            pointer: None,
            detail: detail.into(),
        }
    }
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>, remedy: &'static str) -> Self {
        let detail: String = detail.into();
        Self {
            kind,
            detail: detail.into(),
            remedy: remedy.into(),
            errors: Box::default(),
            origin: None,
            headers: Box::default(),
            refused: None,
            cause: None,
            page: None,
        }
    }

    /// Reports invalid fields: names the first [`ERRORS_MAX`] and counts the rest.
    pub(crate) fn fields(mut errors: Vec<FieldError>) -> Self {
        let more = match errors.len().saturating_sub(ERRORS_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        errors.truncate(ERRORS_MAX);
        let names: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        let names = names.join(", ");
        let detail = format!("Not as expected: {names}{more}. Nothing was changed.");
        let remedy = "Correct what `errors` names and send the request again.";
        Self::new(Kind::FieldsInvalid, detail, remedy).with_errors(errors)
    }

    /// Reports one invalid field of the body.
    pub(crate) fn field(name: &str, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::field(name, detail)])
    }

    /// An error of this server. The log has the cause under the request's id.
    pub(crate) fn internal(cause: impl Into<Box<str>>) -> Self {
        let detail = "The request failed because of an error in Keyside.";
        let remedy = "Find the request's id in Keyside's log, and report the error beside it.";
        Self::new(Kind::Internal, detail, remedy).caused_by(cause)
    }

    /// Adds a cause for the log that the response does not have.
    fn caused_by(self, cause: impl Into<Box<str>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..self
        }
    }

    pub(crate) fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors.into();
        self
    }

    /// Adds the result of a live check. If it has a remedy of its own, that replaces the general
    /// one.
    pub(crate) fn with_check(mut self, view: CheckView, remedy: Option<String>) -> Self {
        self.origin = Some(Box::new(Origin::Check(FailedCheck { view, remedy })));
        self
    }

    /// With another next step: of the page, or one that depends on the settings.
    pub(crate) fn with_remedy(self, remedy: impl Into<Box<str>>) -> Self {
        let remedy = remedy.into();
        Self { remedy, ..self }
    }

    pub(crate) fn with_header(self, name: HeaderName, value: &'static str) -> Self {
        self.with_value(name, HeaderValue::from_static(value))
    }

    pub(crate) fn with_value(mut self, name: HeaderName, value: HeaderValue) -> Self {
        let mut headers = mem::take(&mut self.headers).into_vec();
        headers.push((name, value));
        self.headers = headers.into();
        self
    }

    /// Has the refusal of `actor` audited, whatever the kind. A 404 that hides a resource is
    /// audited this way.
    pub(crate) fn refusing(mut self, actor: &ActorId) -> Self {
        self.refused = Some(actor.clone());
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// What is wrong, as a sentence.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The next step, as a sentence.
    pub(crate) fn remedy(&self) -> &str {
        let check = match self.origin.as_deref() {
            Some(Origin::Check(check)) => check.remedy.as_deref(),
            _ => None,
        };
        check.unwrap_or(&self.remedy)
    }

    /// The live check because of which a secret was not stored.
    pub(crate) fn check(&self) -> Option<&CheckView> {
        match self.origin.as_deref() {
            Some(Origin::Check(check)) => Some(&check.view),
            _ => None,
        }
    }

    /// Where a person can remedy what the proxy refused: the URL of a page, or a text.
    pub(crate) fn remediation(&self) -> Option<&str> {
        match self.origin.as_deref() {
            Some(Origin::Refusal(refusal)) => Some(&refusal.remediation),
            _ => None,
        }
    }

    /// The invalid fields.
    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// Has this HTML rendered instead of the JSON document. It needs the headers of a page too.
    pub(crate) fn shown_as(mut self, page: String) -> Self {
        self.page = Some(Box::new(Page(page)));
        self
    }

    /// Whether the response will be HTML.
    pub(crate) fn is_page(&self) -> bool {
        self.page.is_some()
    }

    /// The actor for the audit record, or `None` if this is not a refusal.
    pub(crate) fn refused(&self) -> Option<ActorId> {
        let known = self.refused.clone();
        known.or_else(|| self.kind.is_refusal().then(ActorId::anonymous))
    }

    /// The problem document in JSON.
    pub(crate) fn document(&self, request_id: &str) -> serde_json::Result<String> {
        let (refusal, check) = match self.origin.as_deref() {
            Some(Origin::Refusal(refusal)) => (Some(refusal), None),
            Some(Origin::Check(check)) => (None, Some(check)),
            None => (None, None),
        };
        serde_json::to_string(&ProblemDocument {
            kind: self.kind.uri(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            remedy: self.remedy(),
            request_id,
            errors: &self.errors,
            code: refusal.map(|refusal| refusal.code),
            remediation: self.remediation(),
            check: check.map(|check| &check.view),
        })
    }

    /// Logs the internal cause, if there is one.
    pub(crate) fn log_cause(&self, request_id: &str) {
        if let Some(cause) = &self.cause {
            tracing::error!(request_id, cause, "a request failed");
        }
    }

    /// Renders every error response, and logs the internal cause.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        self.log_cause(request_id);
        let mut response = match &self.page {
            Some(page) => (self.kind.status(), page.0.clone()).into_response(),
            None => self.json(request_id),
        };
        let headers = response.headers_mut();
        headers.extend(self.headers.iter().cloned());
        let content_type = match self.is_page() {
            true => HTML,
            false => PROBLEM_JSON,
        };
        headers.insert(header::CONTENT_TYPE, content_type);
        response
    }

    fn json(&self, request_id: &str) -> Response {
        match self.document(request_id) {
            Ok(body) => (self.kind.status(), body).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// The problem travels in the response's extensions to the layer in `request_log.rs`, which knows the
/// request id, audits and renders.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A problem document (RFC 9457).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(crate) struct ProblemDocument<'a> {
    /// The type of the problem, for programs.
    #[serde(rename = "type")]
    #[schema(pattern = "^urn:keyside:problem:[a-z0-9-]+$")]
    kind: String,
    /// The type of the problem, for people.
    #[schema(value_type = String)]
    title: &'a str,
    status: u16,
    /// What is wrong with this request. Never repeats a value of the request.
    #[schema(value_type = String)]
    detail: &'a str,
    /// What to do next.
    #[schema(value_type = String)]
    remedy: &'a str,
    /// The request's id, which the log and the audit record have too.
    #[schema(value_type = String)]
    request_id: &'a str,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<FieldError>, required = false)]
    errors: &'a [FieldError],
    /// The code of the refusal that a runner would get, for previews.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    code: Option<&'static str>,
    /// The link, or text, of that refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    remediation: Option<&'a str>,
    /// The live check that the secret failed, where one was required.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = CheckView, required = false)]
    check: Option<&'a CheckView>,
}

impl Problem {
    /// The store could not be read.
    pub(crate) fn unreadable(error: StorageError) -> Self {
        tracing::error!(%error, "the store could not be read");
        Self::new(
            Kind::StoreUnavailable,
            "The store cannot be read.",
            "Check Keyside's log for the error of the store, then try again.",
        )
        .with_header(header::RETRY_AFTER, "5")
    }

    /// The same response if the workspace is outside of the caller's scope.
    pub(crate) fn workspace_unknown() -> Self {
        let detail = "There is no such workspace.";
        let remedy = "GET /api/workspaces lists the existing ones (`keyside workspace list`).";
        Self::new(Kind::WorkspaceUnknown, detail, remedy)
    }

    /// One of several workspaces does not exist. The response does not say which: the caller may
    /// not be permitted to know.
    pub(crate) fn workspaces_unknown() -> Self {
        let error = FieldError::field("workspaces", "one of them does not exist");
        Self::workspace_unknown().with_errors(vec![error])
    }

    /// The resource has changed since the client read it.
    pub(crate) fn superseded() -> Self {
        let detail =
            "The resource has changed since the ETag in If-Match. This request changed nothing.";
        let remedy = "Read it again, and send the change again with its new ETag as If-Match.";
        Self::new(Kind::PreconditionFailed, detail, remedy)
    }
}

/// A text that begins with a small letter, as a sentence.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    let first: String = first.into_iter().flatten().collect();
    let end = match text.ends_with(['.', '!', '?']) {
        true => "",
        false => ".",
    };
    format!("{first}{}{end}", letters.as_str())
}

/// More than any valid body has fields, so that an invalid body does not get a long response.
const ERRORS_MAX: usize = 16;

/// The challenge to a request with a token that is not valid (RFC 6750 section 3).
pub(crate) const INVALID_TOKEN: &str = r#"Bearer realm="keyside", error="invalid_token""#;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_a_sentence_once() {
        assert_eq!(sentence("is missing"), "Is missing.");
        assert_eq!(sentence("A sentence."), "A sentence.");
    }
}
