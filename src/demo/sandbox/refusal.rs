//! The sandbox's errors, in the format of the provider whose SDK sent the request.

use axum::{
    Json,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The provider whose API a request uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    OpenAi,
    Anthropic,
}

impl Dialect {
    /// Both providers have a `/v1/models`; Anthropic's SDK names its version in a header on every
    /// request.
    pub(super) fn of(path: &str, headers: &HeaderMap) -> Self {
        if path.starts_with("/v1/messages") || headers.contains_key("anthropic-version") {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }
}

/// An error as a provider reports it. It never repeats the given key.
#[derive(Debug)]
pub(super) struct Refusal {
    dialect: Dialect,
    status: StatusCode,
    message: String,
}

impl Refusal {
    pub(super) fn key(dialect: Dialect) -> Self {
        let message =
            "The sandbox accepts exactly one API key, and this request does not carry it.";
        Self::new(dialect, StatusCode::UNAUTHORIZED, message)
    }

    pub(super) fn route(dialect: Dialect, method: &Method, path: &str) -> Self {
        let message = format!("The sandbox has no {method} {path}.");
        Self::new(dialect, StatusCode::NOT_FOUND, message)
    }

    pub(super) fn request(dialect: Dialect, message: impl Into<String>) -> Self {
        Self::new(dialect, StatusCode::BAD_REQUEST, message)
    }

    fn new(dialect: Dialect, status: StatusCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            dialect,
            status,
            message,
        }
    }

    fn body(&self) -> Value {
        match self.dialect {
            Dialect::OpenAi => {
                let code = (self.status == StatusCode::UNAUTHORIZED).then_some("invalid_api_key");
                json!({ "error": { "message": self.message, "type": "invalid_request_error", "param": null, "code": code } })
            }
            Dialect::Anthropic => {
                let kind = match self.status {
                    StatusCode::UNAUTHORIZED => "authentication_error",
                    StatusCode::NOT_FOUND => "not_found_error",
                    _ => "invalid_request_error",
                };
                json!({ "type": "error", "error": { "type": kind, "message": self.message }, "request_id": null })
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        // SDKs retry errors that look temporary. None is here.
        response
            .headers_mut()
            .insert("x-should-retry", HeaderValue::from_static("false"));
        response
    }
}

/// A JSON request body, or the provider's error for an invalid one.
pub(super) struct JsonRequest<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonRequest<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let dialect = Dialect::of(request.uri().path(), request.headers());
        match Json::<T>::from_request(request, state).await {
            Ok(Json(asked)) => Ok(Self(asked)),
            Err(rejection) => Err(Refusal::request(dialect, rejection.body_text())),
        }
    }
}
