//! Saves a connection's task a poll for which it has nothing to do.
//!
//! hyper 1.12 wakes the task that sends a body whenever a piece of the body is taken, also when it
//! was the last and the sender is gone (`Receiver::poll_next` in `hyper::body::chan`). For a small
//! request and its response these were two of six polls, each of a whole connection.
//!
//! So connections are polled with a waker of ours ([`ConnectionTask`]), and what wakes them while a
//! piece is taken can be held back until it is known whether it was the last ([`poll_body`]).

use std::{
    cell::Cell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use http_body::{Body, Frame};

/// The waker that one connection is polled with.
#[derive(Default)]
pub(crate) struct ConnectionTask {
    /// The task's own waker, and ours in front of it.
    wakers: Option<(Waker, Waker)>,
}

impl ConnectionTask {
    /// Polls the connection, whose bodies are read with [`poll_body`].
    pub(crate) fn poll<F: Future>(
        &mut self,
        connection: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let known = self.wakers.take();
        let known = known.filter(|(task, _)| task.will_wake(context.waker()));
        let (_, waker) = self.wakers.insert(known.unwrap_or_else(|| {
            let task = context.waker().clone();
            let waker = Waker::from(Arc::new(ConnectionWaker(task.clone())));
            (task, waker)
        }));
        connection.poll(&mut Context::from_waker(waker))
    }
}

type NextFrame<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

/// Polls a body that arrives on a connection. Taking its last piece does not wake the connection.
///
/// Without a known length the last piece cannot be told from others. Over HTTP/2 every piece wakes
/// the connection, which must return the piece's flow-control capacity to the peer.
pub(crate) fn poll_body<B: Body + Unpin>(
    body: &mut B,
    over_http2: bool,
    context: &mut Context<'_>,
) -> Poll<NextFrame<B>> {
    if over_http2 || body.size_hint().exact().is_none() {
        return Pin::new(body).poll_frame(context);
    }
    let held = HeldWake::begin();
    let polled = Pin::new(&mut *body).poll_frame(context);
    // Without a piece, the wake-up is one of the reader's own: the sender's last wake-up raced with
    // this poll, and nothing else would poll the body again.
    if polled.is_ready() && body.is_end_stream() {
        held.discard();
    }
    polled
}

/// Wakes the task that a connection runs on, unless the wake-up is held back.
struct ConnectionWaker(Waker);

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let hold_back = |taking: &Cell<Taking>| match taking.take() {
            Taking::Piece => {
                taking.set(Taking::Woken(self.clone()));
                true
            }
            other => {
                taking.set(other);
                false
            }
        };
        // Fails while a thread ends, which takes nothing out of a body then.
        if !TAKING.try_with(hold_back).unwrap_or(false) {
            self.0.wake_by_ref();
        }
    }
}

thread_local! {
    static TAKING: Cell<Taking> = const { Cell::new(Taking::Nothing) };
}

/// What this thread takes out of a body at the moment.
#[derive(Default)]
enum Taking {
    #[default]
    Nothing,
    /// A piece that may be the last.
    Piece,
    /// The same, and this connection has been woken meanwhile. Others are woken as usual.
    Woken(Arc<ConnectionWaker>),
}

/// Holds back one wake-up on this thread, and delivers it when dropped.
struct HeldWake;

impl HeldWake {
    fn begin() -> Self {
        TAKING.set(Taking::Piece);
        Self
    }

    fn discard(self) {
        TAKING.set(Taking::Nothing);
    }
}

impl Drop for HeldWake {
    fn drop(&mut self) {
        if let Taking::Woken(connection) = TAKING.take() {
            connection.0.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, convert::Infallible, future::poll_fn, pin::pin};

    use bytes::Bytes;
    use http_body::SizeHint;

    use super::*;
    use crate::wakers::tests::WakeCounter;

    /// A body that wakes its sender for each piece, as hyper's does.
    struct Pieces {
        left: u64,
        has_length: bool,
        sender: Waker,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.left -= 1;
            self.sender.wake_by_ref();
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }

        fn is_end_stream(&self) -> bool {
            self.left == 0
        }

        fn size_hint(&self) -> SizeHint {
            match self.has_length {
                true => SizeHint::with_exact(self.left),
                false => SizeHint::default(),
            }
        }
    }

    /// How often a connection has been woken after each of two pieces.
    fn wakes(has_length: bool, over_http2: bool) -> [usize; 2] {
        let (task, sender) = (Arc::<WakeCounter>::default(), RefCell::new(None));
        let connection = pin!(poll_fn(|context| {
            *sender.borrow_mut() = Some(context.waker().clone());
            Poll::<()>::Pending
        }));
        let waker = Waker::from(task.clone());
        let polled = ConnectionTask::default().poll(connection, &mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        let mut body = Pieces {
            left: 2,
            has_length,
            sender: sender.take().unwrap(),
        };
        [(); 2].map(|()| {
            let context = &mut Context::from_waker(Waker::noop());
            assert!(poll_body(&mut body, over_http2, context).is_ready());
            task.times()
        })
    }

    #[test]
    fn the_last_piece_of_a_body_with_a_length_wakes_nobody() {
        assert_eq!(wakes(true, false), [1, 1]);
    }

    #[test]
    fn a_piece_that_is_not_known_to_be_the_last_wakes_its_connection() {
        assert_eq!(wakes(false, false), [1, 2]);
        assert_eq!(wakes(true, true), [1, 2]);
    }

    /// A body whose last piece was taken, whose sender is about to leave, and whose channel wakes
    /// its reader, because the wake-up for that piece came while the reader registered again.
    struct Ending;

    impl Body for Ending {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            reader: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            reader.waker().wake_by_ref();
            Poll::Pending
        }

        fn is_end_stream(&self) -> bool {
            true
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(0)
        }
    }

    #[test]
    fn a_reader_that_waits_for_the_end_of_a_body_is_woken() {
        let task = Arc::<WakeCounter>::default();
        let waker = Waker::from(task.clone());
        let reads = pin!(poll_fn(|context| {
            poll_body(&mut Ending, false, context).map(|_| ())
        }));
        let polled = ConnectionTask::default().poll(reads, &mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        assert_eq!(task.times(), 1);
    }

    #[test]
    fn a_connection_that_moves_to_another_task_wakes_that_one() {
        let (first, second) = (Arc::<WakeCounter>::default(), Arc::<WakeCounter>::default());
        let mut connection = ConnectionTask::default();
        for task in [&first, &first, &second] {
            let waker = Waker::from(task.clone());
            let wakes_itself = pin!(poll_fn(|context| {
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            }));
            let polled = connection.poll(wakes_itself, &mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        assert_eq!((first.times(), second.times()), (2, 1));
    }
}
