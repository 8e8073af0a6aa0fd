//! Requests that cost more than others take turns, so that a good token cannot wear the system out: a token has one of each
//! kind at a time, and some kinds have few in all.
//!
//! What is over in moments waits for its turn. What may take long is refused with 429 instead: whoever waits holds one of
//! the listener's few connections.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::header;
use http_body::{Frame, SizeHint};
use keyside_credentials::ActorId;
use tokio::{runtime::Handle, sync::Notify};

use crate::{
    access::Caller,
    problem::{Kind, Problem},
};

/// What costs more than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The whole audit log is read and checked.
    AuditCheck,
    /// Everything there is leaves, and changes wait for the beginning of it.
    Backup,
    /// The log, or what is kept of a workspace, leaves. An archive is in memory until it has left.
    Export,
    /// A page is picked out of everything there is.
    List,
    /// A provider is asked.
    LiveCheck,
}

/// Who is at what.
#[derive(Default)]
pub(crate) struct Turns([Arc<Places>; Work::KINDS]);

impl Turns {
    /// The caller's turn, now.
    ///
    /// # Errors
    /// 429 where the caller has one already, or where there are as many as there may be.
    pub(crate) fn take(&self, work: Work, caller: &Caller) -> Result<Turn, Problem> {
        let actor = &caller.principal().actor;
        let taken = self.places(work).take(actor, work.most());
        taken.ok_or_else(|| already_running(work))
    }

    /// The caller's turn, once their other ones are over. For what takes moments, and has no limit but one a token.
    pub(crate) async fn wait(&self, work: Work, caller: &Caller) -> Turn {
        let actor = &caller.principal().actor;
        let places = self.places(work);
        loop {
            let freed = places.freed.notified();
            tokio::pin!(freed);
            // In the list before the places are looked at: one that is freed in between is not missed.
            freed.as_mut().enable();
            if let Some(turn) = places.take(actor, work.most()) {
                return turn;
            }
            freed.await;
        }
    }

    fn places(&self, work: Work) -> &Arc<Places> {
        &self.0[work as usize]
    }
}

impl Work {
    const KINDS: usize = 5;

    /// How many at once, of all tokens together. Tokens make tokens, so one a token is no limit where memory is held.
    fn most(self) -> usize {
        match self {
            Self::AuditCheck | Self::Backup => 1,
            Self::Export => 4,
            Self::List | Self::LiveCheck => usize::MAX,
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::AuditCheck => "The audit log is being checked already. One check runs at a time.",
            Self::Backup => "A backup is being made already. One is made at a time.",
            Self::Export => {
                "An export of this token is on its way already, or as many as there may be. A token has one at a time."
            }
            Self::List => "A list is being made for this token already.",
            Self::LiveCheck => "A provider is being asked for this token already.",
        }
    }
}

/// The turns of one kind.
#[derive(Default)]
struct Places {
    taken: Mutex<HashSet<ActorId>>,
    freed: Notify,
}

impl Places {
    fn take(self: &Arc<Self>, actor: &ActorId, most: usize) -> Option<Turn> {
        let mut taken = self.taken();
        if taken.len() >= most || !taken.insert(actor.clone()) {
            return None;
        }
        Some(Turn {
            places: self.clone(),
            actor: actor.clone(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<ActorId>> {
        // Each change is one step on the set, so whatever a panic left of it is whole.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One turn, until it is dropped.
pub(crate) struct Turn {
    places: Arc<Places>,
    actor: ActorId,
}

impl Turn {
    /// Holds the turn until the whole body has been sent, or its reader has left.
    pub(crate) fn until_sent(self, response: Response) -> Response {
        response.map(|body| Body::new(Sending { body, _turn: self }))
    }

    /// Does work that keeps a processor busy, on a thread of its own: the listener has one thread for everybody. Holds the
    /// turn until the work is done, whether or not someone still waits for it.
    pub(crate) async fn aside<T: Send + 'static>(
        self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<(T, Self), Problem> {
        let runtime = Handle::current();
        let done = tokio::task::spawn_blocking(move || (runtime.block_on(work), self));
        // The panic's own words went to standard error, and may hold anything.
        done.await
            .map_err(|_| Problem::internal("work on a thread of its own panicked, or was cut off"))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.places.taken().remove(&self.actor);
        self.places.freed.notify_waiters();
    }
}

/// A body that holds a turn.
struct Sending {
    body: Body,
    _turn: Turn,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn already_running(work: Work) -> Problem {
    Problem::new(
        Kind::AlreadyRunning,
        work.in_words(),
        "Wait as long as Retry-After says, then send the request again.",
    )
    .with_header(header::RETRY_AFTER, "5")
}
