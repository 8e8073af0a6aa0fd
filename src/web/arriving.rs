//! The body of a request on its way: its sender is answered once it has arrived, and silent until then.

use super::room::Place;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A body, of the client at a place.
pub(super) struct Arriving<B> {
    body: B,
    place: Arc<Place>,
}

impl<B: Body> Arriving<B> {
    pub(super) fn new(body: B, place: Arc<Place>) -> Self {
        if body.is_end_stream() {
            place.answering(true);
        }
        Self { body, place }
    }
}

impl<B: Body + Unpin> Body for Arriving<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.place.answering(true);
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

/// Nobody wants the rest of it, so nothing is waited for but the answer. That comes after this: the router lets go of a
/// request before it returns the response.
impl<B> Drop for Arriving<B> {
    fn drop(&mut self) {
        self.place.answering(true);
    }
}

#[cfg(test)]
mod tests {
    use super::super::room::Room;
    use super::*;
    use http_body_util::channel::Channel;
    use http_body_util::{BodyExt, Empty};
    use hyper::body::Bytes;
    use std::convert::Infallible;

    #[tokio::test]
    async fn a_client_is_answered_once_its_body_has_arrived() {
        let place = Room::of(1).admit();
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        let mut body = Arriving::new(body, place.clone());
        sender.send_data("a byte".into()).await.unwrap();
        assert!(body.frame().await.is_some());
        assert!(!place.is_answering());
        drop(sender);
        assert!(body.frame().await.is_none());
        assert!(place.is_answering());
    }

    #[tokio::test]
    async fn a_client_is_answered_if_nobody_wants_its_body() {
        let place = Room::of(1).admit();
        let (_sender, body) = Channel::<Bytes, Infallible>::new(1);
        let body = Arriving::new(body, place.clone());
        assert!(!place.is_answering());
        drop(body);
        assert!(place.is_answering());
        let place = Room::of(1).admit();
        let _none = Arriving::new(Empty::<Bytes>::new(), place.clone());
        assert!(place.is_answering());
    }
}
