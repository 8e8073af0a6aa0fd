//! Reads the server-sent events of the admin API, which writes each as a line `event:` and a line
//! `data:`.

use std::{mem, str};

use serde_json::Value;

use crate::{
    cli::{Failure, items::unexpected_format},
    client::IncomingBody,
};

/// Events as they arrive.
pub(super) struct Events {
    body: IncomingBody,
    received: Received,
}

/// What has arrived of the next events.
#[derive(Default)]
struct Received(Vec<u8>);

impl Events {
    pub(super) fn of(body: IncomingBody) -> Self {
        Self {
            body,
            received: Received::default(),
        }
    }

    /// The name and the data of the next event; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<(String, Value)>, Failure> {
        loop {
            if let Some(event) = self.received.next() {
                return parsed(&event).map(Some);
            }
            match self.body.next().await? {
                Some(chunk) => self.received.0.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

impl Received {
    /// Takes the first event, if it is complete.
    fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.0.windows(END.len()).position(|pair| pair == END)?;
        let rest = self.0.split_off(end + END.len());
        let mut event = mem::replace(&mut self.0, rest);
        event.truncate(end);
        Some(event)
    }
}

fn parsed(event: &[u8]) -> Result<(String, Value), Failure> {
    let read = || {
        let text = str::from_utf8(event).ok()?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let data = serde_json::from_str(field("data: ")?).ok()?;
        Some((field("event: ")?.to_owned(), data))
    };
    read().ok_or_else(|| unexpected_format("an event of a preview"))
}

/// An empty line ends an event.
const END: &[u8] = b"\n\n";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_taken_one_by_one_however_they_arrive() {
        let stream = b"event: text\ndata: {\"text\":\"a\"}\n\nevent: done\ndata: {}\n\n";
        let mut received = Received::default();
        let mut events = Vec::new();
        for byte in stream {
            received.0.push(*byte);
            while let Some(event) = received.next() {
                events.push(parsed(&event).unwrap_or_else(|failure| panic!("{failure}")));
            }
        }
        let expected = [
            ("text".to_owned(), json!({ "text": "a" })),
            ("done".to_owned(), json!({})),
        ];
        assert_eq!(events, expected);
        assert!(parsed(b"data: x").is_err());
    }
}
