//! Counts the tokens of a response from the provider's messages, as they pass.
//!
//! ```text
//!  bytes ──► framing ──► one JSON message ──► scanner ──► tally
//!            body, events, AWS messages,      (exact      (the latest of each count;
//!            WebSocket frames                  paths)      sums of them)
//! ```
//!
//! A message is a JSON object: a body, the data of a server-sent event, a WebSocket message, or the
//! payload of an AWS event stream message. A provider's rules name exact paths from its root. Text
//! that a model wrote is always deeper or inside a string, so it cannot change a count. A response
//! that cannot be read (another content type, a content coding, a compressed frame) has unknown
//! counts, never 0.
//!
//! Runs for every chunk of a response: one pass that keeps only the numbers and a token cut in two,
//! and skips strings and events that cannot contain a count.

mod amazon;
mod base64;
mod body;
mod events;
mod rules;
mod scanner;
mod tally;
mod websocket;

use std::sync::Arc;

use http::{HeaderMap, header};
use keyside_credentials::runs::Tokens;

pub(crate) use self::rules::Rules;
use self::{amazon::Messages, body::Body, events::Events, tally::Tally, websocket::Frames};
use crate::hop::list_values;

/// Meters one response, or all responses of one WebSocket.
pub(crate) struct Meter {
    rules: Arc<Rules>,
    tally: Tally,
    framing: Framing,
}

/// How messages are framed.
enum Framing {
    /// The framing is unknown, or the response is not metered.
    Unread,
    Body(Body),
    Events(Events),
    Amazon(Messages),
    WebSocket(Frames),
}

impl Meter {
    /// For a response that is not metered.
    pub(crate) fn off(rules: Arc<Rules>) -> Self {
        Self::of(rules, Framing::Unread)
    }

    /// For a response with this head.
    pub(crate) fn answer(rules: Arc<Rules>, head: &HeaderMap) -> Self {
        Self::of(rules, Framing::named_by(head))
    }

    /// For the bytes that a WebSocket server sends after the handshake.
    pub(crate) fn websocket(rules: Arc<Rules>) -> Self {
        let mut meter = Self::of(rules, Framing::WebSocket(Frames::default()));
        meter.tally.expect_many(&meter.rules);
        meter
    }

    fn of(rules: Arc<Rules>, framing: Framing) -> Self {
        let tally = match framing {
            Framing::Unread => Tally::default(),
            _ => Tally::new(&rules),
        };
        Self {
            rules,
            tally,
            framing,
        }
    }

    /// Reads the next chunk.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        let (rules, tally) = (&*self.rules, &mut self.tally);
        let readable = match &mut self.framing {
            Framing::Unread => return,
            Framing::Body(body) => body.push(chunk, rules, tally),
            Framing::Events(events) => events.push(chunk, rules, tally),
            Framing::Amazon(messages) => messages.push(chunk, rules, tally),
            Framing::WebSocket(frames) => frames.push(chunk, rules, tally),
        };
        if readable.is_err() {
            self.framing = Framing::Unread;
        }
    }

    /// The counts so far. None if the response became unreadable: partial counts would look
    /// complete.
    pub(crate) fn tokens(&self) -> Tokens {
        match self.framing {
            Framing::Unread => Tokens::default(),
            _ => self.tally.tokens(&self.rules),
        }
    }
}

impl Framing {
    fn named_by(head: &HeaderMap) -> Self {
        let plain = |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
        if !list_values(head, &header::CONTENT_ENCODING).all(plain) {
            return Self::Unread;
        }
        let Some(value) = head.get(header::CONTENT_TYPE) else {
            return Self::Body(Body::default());
        };
        let value = value.as_bytes();
        let end = value.iter().position(|byte| *byte == b';');
        let kind = value[..end.unwrap_or(value.len())].trim_ascii();
        let ends_in = |suffix: &[u8]| {
            let start = kind.len().checked_sub(suffix.len());
            start.is_some_and(|start| kind[start..].eq_ignore_ascii_case(suffix))
        };
        if ends_in(b"/event-stream") {
            Self::Events(Events::default())
        } else if ends_in(b".amazon.eventstream") {
            Self::Amazon(Messages::default())
        } else if JSON.iter().any(|suffix| ends_in(suffix)) {
            Self::Body(Body::default())
        } else {
            Self::Unread
        }
    }
}

/// The framing is broken: messages cannot be told apart, or cannot be read.
#[derive(Debug)]
struct Unreadable;

/// Suffixes of content types that are JSON, or a sequence of JSON values.
const JSON: [&[u8]; 4] = [b"json", b"jsonl", b"jsonlines", b"json-seq"];

#[cfg(test)]
mod tests;
