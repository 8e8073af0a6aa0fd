//! Reads the generated text out of a response: one JSON document, or server-sent events (the HTML
//! standard, "Interpreting an event stream") with one in each. The text is scrubbed again as one
//! stream: a secret in it may have been cut into several events, so that the bytes of the response
//! do not have it in one piece.

use std::{mem, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};
use keyside_config::Provider;
use serde_json::Value;

use crate::scrub::Scrub;

/// Reads one response.
pub(super) struct Reader {
    provider: Arc<Provider>,
    framing: Framing,
    /// Of the text; `None` if the response carries no credential's text.
    scrub: Option<Scrub>,
    /// Bytes that may still come.
    room: usize,
}

enum Framing {
    /// The document so far.
    Document(Vec<u8>),
    Events {
        /// The current line so far.
        line: Vec<u8>,
        /// The data of the current event so far.
        data: Vec<u8>,
    },
}

/// Why a response has no more text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The provider reports an error in the middle of a stream.
    Error,
    /// More than [`MAX_RESPONSE`] bytes.
    TooLarge,
    /// The document is not JSON.
    NotJson,
}

impl Reader {
    pub(super) fn new(provider: Arc<Provider>, head: &HeaderMap, scrub: Option<Scrub>) -> Self {
        let kind = head
            .get(CONTENT_TYPE)
            .map_or(&[][..], |kind| kind.as_bytes());
        let framing = match kind.starts_with(b"text/event-stream") {
            true => Framing::Events {
                line: Vec::new(),
                data: Vec::new(),
            },
            false => Framing::Document(Vec::new()),
        };
        Self {
            provider,
            framing,
            scrub,
            room: MAX_RESPONSE,
        }
    }

    /// The text that is complete with this chunk, except an end that may be the beginning of a
    /// secret.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<String, Unreadable> {
        self.room = self
            .room
            .checked_sub(chunk.len())
            .ok_or(Unreadable::TooLarge)?;
        let (line, data) = match &mut self.framing {
            Framing::Document(document) => {
                document.extend_from_slice(chunk);
                return Ok(String::new());
            }
            Framing::Events { line, data } => (line, data),
        };
        let mut text = String::new();
        for byte in chunk {
            if *byte != b'\n' {
                line.push(*byte);
                continue;
            }
            let line = mem::take(line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if line.is_empty() {
                text += &text_of(&self.provider, true, &mem::take(data))?.unwrap_or_default();
            } else if let Some(rest) = line.strip_prefix(b"data:") {
                data.extend_from_slice(rest);
            }
        }
        Ok(self.scrubbed(text))
    }

    /// The text of a document, once it has ended, or the rest of the text of events.
    pub(super) fn finish(&mut self) -> Result<String, Unreadable> {
        let text = match &mut self.framing {
            Framing::Document(document) => {
                let document = mem::take(document);
                text_of(&self.provider, false, &document)?.ok_or(Unreadable::NotJson)?
            }
            // An event without its end is not one.
            Framing::Events { .. } => String::new(),
        };
        Ok(self.scrubbed(text) + &self.rest())
    }

    /// The text of events that was held back, if no more follows.
    pub(super) fn rest(&mut self) -> String {
        let rest = self.scrub.as_mut().and_then(Scrub::finish);
        rest.map_or_else(String::new, |rest| into_text(&rest))
    }

    fn scrubbed(&mut self, text: String) -> String {
        match &mut self.scrub {
            Some(scrub) => into_text(&scrub.push(Bytes::from(text))),
            None => text,
        }
    }
}

/// Secrets are ASCII, and so is what is held back: no character is cut.
fn into_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The text of one message; `None` if it is not JSON, such as the `[DONE]` of chat completions.
fn text_of(
    provider: &Provider,
    streamed: bool,
    message: &[u8],
) -> Result<Option<String>, Unreadable> {
    let Ok(message) = serde_json::from_slice::<Value>(message) else {
        return Ok(None);
    };
    if message.get("error").is_some_and(Value::is_object) {
        return Err(Unreadable::Error);
    }
    let rule = provider.prompt.as_ref();
    Ok(Some(rule.map_or_else(String::new, |rule| {
        rule.text(streamed, &message)
    })))
}

/// The name that a provider gives its error, such as `model_not_found`; never its message.
pub(super) fn error_name(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let places = [
        "/error/code",
        "/error/status",
        "/error/type",
        "/code",
        "/type",
    ];
    let names = places
        .iter()
        .filter_map(|place| body.pointer(place)?.as_str());
    let mut names = names.filter(|name| {
        let plain = |byte: u8| byte.is_ascii_alphabetic() || b"_-.".contains(&byte);
        (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain)
    });
    names.next().map(str::to_owned)
}

/// Bytes. A thousand tokens of a stream take about 300 KiB.
const MAX_RESPONSE: usize = 4 << 20;
/// Bytes of an error's name.
const MAX_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use keyside_config::Catalogue;
    use keyside_credentials::Secret;

    use super::*;

    const KEY: &str = "sk-proj-0123456789";

    fn reader(kind: &'static str) -> Reader {
        let catalogue = Catalogue::builtin();
        let head = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        let secret = Secret::from_plaintext(KEY.into()).unwrap();
        let scrub = Scrub::new(secret, Vec::new());
        Reader::new(catalogue.get("openai").unwrap().clone(), &head, Some(scrub))
    }

    fn delta(text: &str) -> String {
        let delta = serde_json::json!({ "choices": [{ "delta": { "content": text } }] });
        format!("data: {delta}\n\n")
    }

    #[test]
    fn a_key_that_comes_one_character_an_event_is_masked() {
        let mut reader = reader("text/event-stream");
        let mut text = String::new();
        for character in format!("Grüße: {KEY}. ü sk-proj-0").chars() {
            let event = delta(character.encode_utf8(&mut [0; 4]));
            text += &reader.push(event.as_bytes()).unwrap();
        }
        text += &reader.finish().unwrap();
        let masked = "*".repeat(KEY.len());
        assert_eq!(text, format!("Grüße: {masked}. ü sk-proj-0"));
    }

    #[test]
    fn what_was_held_back_is_not_lost_if_the_response_breaks_off() {
        let mut reader = reader("text/event-stream");
        let held = reader.push(delta("It is").as_bytes()).unwrap();
        assert_eq!((held.as_str(), reader.rest().as_str()), ("It i", "s"));
    }

    const STREAM: &str = "event: x\ndata: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n\
        : comment\r\ndata:{\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\r\n\r\n\
        data: [DONE]\n\n";

    #[test]
    fn the_text_of_events_is_the_same_however_they_are_cut() {
        for size in 1..STREAM.len() {
            let mut reader = reader("text/event-stream; charset=utf-8");
            let chunks = STREAM.as_bytes().chunks(size);
            let text: String = chunks.map(|chunk| reader.push(chunk).unwrap()).collect();
            assert_eq!(text, "Hello", "{size}");
            assert_eq!(reader.finish(), Ok(String::new()));
        }
    }

    #[test]
    fn the_text_of_a_document_comes_at_its_end() {
        let mut reader = reader("application/json");
        let document = br#"{"choices":[{"message":{"content":"Hello"}}]}"#;
        let (first, second) = document.split_at(20);
        assert_eq!(reader.push(first), Ok(String::new()));
        assert_eq!(reader.push(second), Ok(String::new()));
        assert_eq!(reader.finish(), Ok("Hello".to_owned()));
    }

    #[test]
    fn what_cannot_be_read_is_a_failure() {
        let mut broken = reader("text/html");
        assert_eq!(broken.push(b"<html>"), Ok(String::new()));
        assert_eq!(broken.finish(), Err(Unreadable::NotJson));
        let mut failing = reader("text/event-stream");
        let event = b"data: {\"error\":{\"message\":\"overloaded\"}}\n\n";
        assert_eq!(failing.push(event), Err(Unreadable::Error));
        let mut endless = reader("application/json");
        let chunk = vec![b' '; MAX_RESPONSE];
        assert_eq!(endless.push(&chunk), Ok(String::new()));
        assert_eq!(endless.push(b" "), Err(Unreadable::TooLarge));
    }

    #[test]
    fn only_a_name_is_taken_from_an_error() {
        let named = |body: &str| error_name(body.as_bytes());
        let openai =
            r#"{"error":{"message":"No","type":"invalid_request_error","code":"model_not_found"}}"#;
        assert_eq!(named(openai).as_deref(), Some("model_not_found"));
        let gemini = r#"{"error":{"code":404,"status":"NOT_FOUND","message":"No"}}"#;
        assert_eq!(named(gemini).as_deref(), Some("NOT_FOUND"));
        for body in [
            r#"{"error":{"code":"sk-proj-abc 123"}}"#,
            r#"{"error":{"type":"key sk1 is wrong"}}"#,
            r#"{"message":"No"}"#,
            "No",
            "",
        ] {
            assert_eq!(named(body), None, "{body}");
        }
    }
}
