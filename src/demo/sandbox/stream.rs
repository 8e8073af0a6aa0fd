//! Server-sent events, one chunk per event, with a pause before each, so that a client receives a
//! stream.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use http_body_util::channel::{Channel, Sender};
use serde_json::Value;

/// The events of one response, in order.
#[derive(Default)]
pub(super) struct Events(Vec<Bytes>);

impl Events {
    /// Adds an event without a name, as in OpenAI's chat completions.
    pub(super) fn data(&mut self, data: &Value) {
        self.0.push(format!("data: {data}\n\n").into());
    }

    /// Adds an event that is named by the `type` of its data, as with Anthropic and OpenAI's
    /// Responses.
    pub(super) fn named(&mut self, data: &Value) {
        let name = data["type"].as_str().unwrap_or("message");
        self.0
            .push(format!("event: {name}\ndata: {data}\n\n").into());
    }

    /// Adds the marker that ends a stream of chat completions.
    pub(super) fn done(&mut self) {
        self.0.push(Bytes::from_static(b"data: [DONE]\n\n"));
    }

    /// The number of events so far, which is the sequence number of the next one.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Sends the events. The channel holds one event, so a reader that stops reading stops the
    /// sender too.
    pub(super) fn respond(self, pause: Duration) -> Response {
        let (sender, body) = Channel::new(1);
        tokio::spawn(send(self.0, pause, sender));
        let mut response = Body::new(body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream; charset=utf-8"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

async fn send(events: Vec<Bytes>, pause: Duration, mut sender: Sender<Bytes>) {
    for event in events {
        tokio::time::sleep(pause).await;
        if sender.send_data(event).await.is_err() {
            // The reader has disconnected.
            return;
        }
    }
}
