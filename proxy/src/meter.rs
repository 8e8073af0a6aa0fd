//! Reads in passing what an answer cost, from the messages of its provider.
//!
//! ```text
//!  bytes ──► framing ──► one JSON message ──► scanner ──► tally
//!            body, events, AWS messages,      (exact      (the latest of each count;
//!            WebSocket frames                  paths)      sums of them)
//! ```
//!
//! A message is a JSON object: a body, the data of a server-sent event, a WebSocket message, the payload of a message of an
//! AWS event stream. A provider's rules name exact paths from its root, so that what a model wrote, which is always
//! further down or inside a string, moves no figure. What cannot be read (another type of content, a content coding, a
//! compressed frame) is unknown, never 0.
//!
//! Runs for every piece of an answer: one pass, nothing kept but the numbers and a token cut in two, skipping through
//! strings and through events that cannot hold a count.

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

/// Meters one answer, or all the answers of one WebSocket.
pub(crate) struct Meter {
    rules: Arc<Rules>,
    tally: Tally,
    framing: Framing,
}

/// How messages lie in the bytes.
enum Framing {
    /// They cannot be told, or are not to be counted.
    Unread,
    Body(Body),
    Events(Events),
    Amazon(Messages),
    WebSocket(Frames),
}

impl Meter {
    /// Of an answer that counts nothing.
    pub(crate) fn off(rules: Arc<Rules>) -> Self {
        Self::of(rules, Framing::Unread)
    }

    /// Of an answer with this head.
    pub(crate) fn answer(rules: Arc<Rules>, head: &HeaderMap) -> Self {
        Self::of(rules, Framing::named_by(head))
    }

    /// Of what a WebSocket's other side sends after the handshake.
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

    /// Reads the next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let (rules, tally) = (&*self.rules, &mut self.tally);
        let readable = match &mut self.framing {
            Framing::Unread => return,
            Framing::Body(body) => body.push(piece, rules, tally),
            Framing::Events(events) => events.push(piece, rules, tally),
            Framing::Amazon(messages) => messages.push(piece, rules, tally),
            Framing::WebSocket(frames) => frames.push(piece, rules, tally),
        };
        if readable.is_err() {
            self.framing = Framing::Unread;
        }
    }

    /// What has been reported so far. Of an answer that became unreadable, a part of the counts would pass for all of them.
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

/// The message cannot be told from what follows it, or not be read.
#[derive(Debug)]
struct Unreadable;

/// How the names of types end that are JSON, or JSON values one after another.
const JSON: [&[u8]; 4] = [b"json", b"jsonl", b"jsonlines", b"json-seq"];

#[cfg(test)]
mod tests;
