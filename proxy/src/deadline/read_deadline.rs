//! When a client's next bytes are due, while nothing is being sent to it.

use std::time::Duration;

use keyside_config::Deadlines;
use tokio::time::Instant;

use crate::activity::Activity;

/// The read deadline of one connection.
pub(super) struct ReadDeadline {
    header: Duration,
    pub(super) idle: Duration,
    waiting: Waiting,
}

/// What the connection has been waiting for, and since when.
#[derive(Clone, Copy)]
enum Waiting {
    /// The rest of a request head whose first byte has arrived. A new connection starts in this
    /// state: a client that connects is expected to send a request.
    Head(Instant),
    /// The next request.
    Idle(Instant),
}

impl ReadDeadline {
    pub(super) fn new(deadlines: &Deadlines) -> Self {
        Self {
            header: deadlines.header,
            idle: deadlines.idle,
            waiting: Waiting::Head(Instant::now()),
        }
    }

    /// Called after each read. Notes the end of a request, then the first byte of the next head.
    pub(super) fn note_read(&mut self, activity: &Activity, has_bytes: bool) {
        if let Some(end) = activity.take_request_end() {
            self.waiting = Waiting::Idle(end);
        }
        let begins_head = has_bytes
            && matches!(self.waiting, Waiting::Idle(_))
            && !activity.is_answering()
            && !activity.is_multiplexed();
        if begins_head {
            self.waiting = Waiting::Head(Instant::now());
        }
    }

    /// The time at which the connection is closed unless the client sends something; `None` while a
    /// response is in flight.
    pub(super) fn at(&self, activity: &Activity) -> Option<Instant> {
        match self.waiting {
            _ if activity.is_answering() => None,
            Waiting::Head(since) => Some(since + self.header),
            Waiting::Idle(since) => Some(since + self.idle),
        }
    }
}
