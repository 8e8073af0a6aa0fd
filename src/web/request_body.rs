//! The body of a request. Tells the connection's slot when it has arrived completely.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Frame, SizeHint};

use super::connection_limit::ConnectionSlot;

/// A request body from the client in `slot`.
pub(super) struct RequestBody<B> {
    body: B,
    slot: Arc<ConnectionSlot>,
}

impl<B: Body> RequestBody<B> {
    pub(super) fn new(body: B, slot: Arc<ConnectionSlot>) -> Self {
        if body.is_end_stream() {
            slot.set_awaits_response(true);
        }
        Self { body, slot }
    }
}

impl<B: Body + Unpin> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.slot.set_awaits_response(true);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Nobody reads the rest of the body, so the client only waits for the response. The response comes
/// later: the router drops a request before it returns the response.
impl<B> Drop for RequestBody<B> {
    fn drop(&mut self) {
        self.slot.set_awaits_response(true);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, Empty, channel::Channel};
    use hyper::body::Bytes;

    use super::{super::connection_limit::ConnectionLimit, *};

    #[tokio::test]
    async fn a_client_awaits_its_response_once_its_body_has_arrived() {
        let slot = ConnectionLimit::new(1).admit();
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        let mut body = RequestBody::new(body, slot.clone());
        sender.send_data("a byte".into()).await.unwrap();
        assert!(body.frame().await.is_some());
        assert!(!slot.awaits_response());
        drop(sender);
        assert!(body.frame().await.is_none());
        assert!(slot.awaits_response());
    }

    #[tokio::test]
    async fn a_client_awaits_its_response_if_nobody_reads_its_body() {
        let slot = ConnectionLimit::new(1).admit();
        let (_sender, body) = Channel::<Bytes, Infallible>::new(1);
        let body = RequestBody::new(body, slot.clone());
        assert!(!slot.awaits_response());
        drop(body);
        assert!(slot.awaits_response());
        let slot = ConnectionLimit::new(1).admit();
        let _none = RequestBody::new(Empty::<Bytes>::new(), slot.clone());
        assert!(slot.awaits_response());
    }
}
