//! Assertions that many tests share.

use serde_json::Value;

use super::{KEY, Message};

/// Checks a refusal by Keyside: status, code, remedy, and the request id in both places.
pub fn refused(name: &str, answer: &Message, status: u16, code: &str) {
    let text = answer.text();
    assert_eq!(answer.status(), status, "{name}: {text}");
    let body = answer.json();
    assert_eq!(body["code"], code, "{name}: {text}");
    let request_id = answer.header("x-keyside-request-id").unwrap_or_default();
    assert!(
        !request_id.is_empty(),
        "{name}: no request id in {:?}",
        answer.headers
    );
    assert_eq!(body["request_id"], request_id, "{name}: {text}");
    let remediation = body["remediation"].as_str().unwrap_or_default();
    assert!(
        remediation.starts_with("http://"),
        "{name}: no way out in {text}"
    );
    assert!(
        message_of(&body).is_some_and(|message| !message.is_empty()),
        "{name}: {text}"
    );
    assert!(!text.contains(".rs:"), "{name}: names our sources: {text}");
    keyless(name, answer);
    closed_to_browsers(name, answer);
}

/// The message, wherever the provider's error shape has it.
pub fn message_of(body: &Value) -> Option<&str> {
    let nested = body.get("error").and_then(|error| error.get("message"));
    nested.or_else(|| body.get("message"))?.as_str()
}

/// Checks that the key is nowhere in a response.
pub fn keyless(name: &str, answer: &Message) {
    assert!(
        !answer.holds(KEY),
        "{name}: the key came back: {}",
        answer.text()
    );
}

/// Checks that a response grants nothing to web pages.
pub fn closed_to_browsers(name: &str, answer: &Message) {
    let allows =
        |(key, _): &&(String, String)| key.to_ascii_lowercase().starts_with("access-control-");
    assert_eq!(answer.headers.iter().find(allows), None, "{name}");
}
