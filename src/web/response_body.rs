//! The body of a response. Reports an error only after the bytes before it have been written.
//!
//! An error of a body makes hyper 1.12 drop what it has not written yet, with the whole connection
//! (`Dispatcher::poll_write` returns before it flushes). A short download that ends with an error
//! would lose even its head, and its client would take Keyside for stopped.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Frame, SizeHint};

use super::connection_limit::ConnectionSlot;

/// A response body for the client in `slot`.
pub(super) struct ResponseBody<B: Body> {
    body: B,
    slot: Arc<ConnectionSlot>,
    delayed_error: Option<DelayedError<B::Error>>,
}

struct DelayedError<E> {
    error: E,
    /// The connection's flush count when the error occurred.
    flushes: usize,
}

impl<B: Body> ResponseBody<B> {
    pub(super) fn new(body: B, slot: Arc<ConnectionSlot>) -> Self {
        Self {
            body,
            slot,
            delayed_error: None,
        }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body + Unpin,
    B::Error: Unpin,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let flushes = self.slot.flushes();
        let delayed = match self.delayed_error.take() {
            Some(delayed) => delayed,
            None => match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Err(error)) => DelayedError { error, flushes },
                frame => return Poll::Ready(frame),
            },
        };
        if delayed.flushes != flushes {
            return Poll::Ready(Some(Err(delayed.error)));
        }
        // No waker is needed: hyper flushes everything after this, and then polls again
        // (`Dispatcher::poll_loop`).
        self.delayed_error = Some(delayed);
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.delayed_error.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io};

    use http_body_util::channel::Channel;
    use hyper::{Request, Response, body::Bytes, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::{
        super::{client_socket::ClientSocket, connection_limit::ConnectionLimit},
        *,
    };

    /// What a client with a small window reads of a response that fails after `length` bytes.
    async fn received(length: usize) -> String {
        let (mut client, server) = duplex(64);
        let slot = ConnectionLimit::new(1).admit();
        let socket = ClientSocket::new(server, slot.clone(), |_| None);
        let service = service_fn(move |_: Request<_>| {
            let (mut sender, body) = Channel::<Bytes, io::Error>::new(2);
            let slot = slot.clone();
            async move {
                sender.send_data("b".repeat(length).into()).await.unwrap();
                sender.abort(io::Error::other("cut"));
                Ok::<_, Infallible>(Response::new(ResponseBody::new(body, slot)))
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut all = String::new();
        client.read_to_string(&mut all).await.unwrap();
        all
    }

    #[tokio::test]
    async fn a_response_that_fails_is_received_up_to_the_error() {
        for length in [1, 100, 10_000] {
            let all = received(length).await;
            assert!(all.starts_with("HTTP/1.1 200"), "{length}: {all}");
            assert!(
                all.ends_with(&format!("{}\r\n", "b".repeat(length))),
                "{length}: {all}"
            );
        }
    }
}
