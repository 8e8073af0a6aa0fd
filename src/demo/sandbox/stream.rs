//! Server-sent events, one chunk an event, with a pause before each: so that what a client sees is a stream and not a
//! body that happens to be in event form.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use http_body_util::channel::{Channel, Sender};
use serde_json::Value;

/// The events of one answer, in order.
#[derive(Default)]
pub(super) struct Events(Vec<Bytes>);

impl Events {
    /// An event without a name, as OpenAI's chat completions send them.
    pub(super) fn data(&mut self, data: &Value) {
        self.0.push(format!("data: {data}\n\n").into());
    }

    /// An event named by the `type` of its data, as Anthropic and OpenAI's Responses send them.
    pub(super) fn named(&mut self, data: &Value) {
        let name = data["type"].as_str().unwrap_or("message");
        self.0
            .push(format!("event: {name}\ndata: {data}\n\n").into());
    }

    /// The marker that ends a stream of chat completions.
    pub(super) fn done(&mut self) {
        self.0.push(Bytes::from_static(b"data: [DONE]\n\n"));
    }

    /// How many events there are so far: the sequence number of the next.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Sends them. One event waits in the channel at most, so a reader that stops reading stops the sender too.
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
            // The reader is gone; there is nobody to finish the sentence for.
            return;
        }
    }
}
