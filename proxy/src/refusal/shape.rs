//! The error shape of each kind of provider.
//!
//! `code`, `remediation`, `request_id`, `method` and `path` are also at the top level of every
//! shape, so that one reader can parse all of them. Sources: the error pages of OpenAI, Anthropic
//! (docs: "Errors"), Google (AIP-193), Cohere and AWS Bedrock.

use http::{HeaderName, StatusCode};
use keyside_config::ErrorShape;
use serde_json::{Value, json};

use super::SanitizedTarget;

/// The content of an error in any shape.
pub(super) struct Report<'a> {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: &'a str,
    pub(super) remediation: &'a str,
    pub(super) request_id: &'a str,
    pub(super) target: Option<&'a SanitizedTarget<'a>>,
}

pub(super) fn body(shape: ErrorShape, report: &Report<'_>) -> Vec<u8> {
    let Report {
        status,
        code,
        message,
        remediation,
        request_id,
        target,
    } = *report;
    let mut body = match shape {
        ErrorShape::OpenAi => json!({ "error": {
            "message": message, "type": kind(status), "param": null, "code": code,
            "remediation": remediation, "request_id": request_id,
        }}),
        // Anthropic's own errors have `request_id` at the top level, and its SDKs look there for
        // fields that are not in `error`. A reader of OpenAI errors sees only the inside of
        // `error`.
        ErrorShape::Anthropic => json!({ "type": "error", "error": {
            "type": kind(status), "message": message,
        }}),
        ErrorShape::Gemini => json!({ "error": {
            "code": status.as_u16(), "message": message, "status": grpc_status(status),
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code, "domain": "keyside",
                "metadata": { "remediation": remediation, "request_id": request_id },
            }],
        }}),
        ErrorShape::Message | ErrorShape::Bedrock => json!({ "message": message }),
    };
    if let Value::Object(fields) = &mut body {
        for (name, value) in [
            ("code", code),
            ("remediation", remediation),
            ("request_id", request_id),
        ] {
            fields.insert(name.into(), value.into());
        }
        if let Some(target) = target {
            fields.insert("method".into(), target.method.into());
            fields.insert("path".into(), target.path.as_str().into());
        }
    }
    body.to_string().into_bytes()
}

/// The header in which the provider's SDK looks for the request id.
pub(super) fn request_id_header(shape: ErrorShape) -> HeaderName {
    HeaderName::from_static(match shape {
        ErrorShape::Anthropic => "request-id",
        ErrorShape::Bedrock => "x-amzn-requestid",
        ErrorShape::OpenAi | ErrorShape::Gemini | ErrorShape::Message => "x-request-id",
    })
}

fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// AIP-193's canonical code for a status.
fn grpc_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        502 | 503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

pub(super) fn bedrock_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        502 | 503 => "ServiceUnavailableException",
        504 => "ModelTimeoutException",
        500.. => "InternalServerException",
        _ => "ValidationException",
    }
}
