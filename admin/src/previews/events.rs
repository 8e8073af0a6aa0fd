//! A preview as server-sent events (the HTML standard, "Server-sent events").

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, header};
use http_body::Frame;
use keyside_credentials::{
    Registry,
    preview::{PreviewEvent, PreviewResponse},
};
use serde::Serialize;

use super::{Asked, unreported};
use crate::{access::Caller, problem::Problem, wire::PreviewText};

/// A response body of events, each in a chunk of its own. Dropping it cancels the request.
pub(super) struct EventStream {
    pub(super) response: Box<dyn PreviewResponse>,
    /// `None` after the last event.
    pub(super) asked: Option<Asked>,
    pub(super) registry: Arc<Registry>,
    /// Its access can end before the response does, which can take minutes.
    pub(super) caller: Caller,
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let mut response = Body::new(self).into_response();
        let kind = HeaderValue::from_static("text/event-stream");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind);
        // nginx, and proxies that follow it, otherwise collect the text before they pass it on.
        headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        response
    }
}

impl http_body::Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.asked.is_none() {
            return Poll::Ready(None);
        }
        let event = ready!(self.response.poll_next(context));
        let ended = self.caller.still_has_access(&self.registry).err();
        if ended.is_none()
            && let Some(PreviewEvent::Text(text)) = event
        {
            return frame("text", &json(&PreviewText { text }));
        }
        let Some(asked) = self.asked.take() else {
            return Poll::Ready(None);
        };
        let failed = |problem: Problem| {
            let id = asked.request_id.as_str();
            problem.log_cause(id);
            let document = problem.document(id);
            frame("error", &document.unwrap_or_default())
        };
        if let Some(problem) = ended {
            return failed(problem);
        }
        match event {
            Some(PreviewEvent::Done(report)) => frame("done", &json(&asked.view(report, None))),
            Some(PreviewEvent::Failed(error)) => failed(error.into()),
            _ => failed(unreported()),
        }
    }
}

/// One event. JSON escapes line ends, so its data is one line.
fn frame(name: &str, data: &str) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
    let event = format!("event: {name}\ndata: {data}\n\n");
    Poll::Ready(Some(Ok(Frame::data(event.into()))))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
