//! Requests that cost more than others take turns, so that a good token cannot wear the system out: a token has few of each
//! kind at a time, and some kinds have few in all.
//!
//! Lists wait for the others of their token, and checks of the audit log for everybody's; few may wait, because each holds
//! one of the listener's connections. Everything else is refused with 429 instead.

use std::{
    collections::{HashMap, hash_map::Entry},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::header;
use http_body::{Frame, SizeHint};
use keyside_credentials::ActorId;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
};

use crate::{
    access::Caller,
    problem::{Kind, Problem},
};

/// What costs more than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkKind {
    /// The whole audit log is read and checked.
    AuditCheck,
    /// Everything there is leaves, and changes wait for the beginning of it.
    Backup,
    /// The body of a request is on its way, as slowly as its sender likes.
    Body,
    /// The log, or what is kept of a workspace, leaves. An archive is in memory until it has left.
    Export,
    /// A page is picked out of everything there is.
    List,
    /// A provider is asked.
    LiveCheck,
}

/// Who is at what.
#[derive(Default)]
pub(crate) struct ConcurrencyLimits([Arc<Slots>; WorkKind::KINDS]);

impl ConcurrencyLimits {
    /// The caller's permit, now.
    ///
    /// # Errors
    /// 429 where the caller has as many already as one may have, or where there are as many as there may be.
    pub(crate) fn try_acquire(
        &self,
        work: WorkKind,
        caller: &Caller,
    ) -> Result<ConcurrencyPermit, Problem> {
        let actor = &caller.principal().actor;
        let permit = self.slots(work).take(actor, work);
        permit.ok_or_else(|| too_many_in_progress(work))
    }

    /// The caller's permit, in the order in which they came: a place in the line first, which is bounded as in
    /// [`ConcurrencyLimits::try_acquire`], then the turn itself.
    ///
    /// # Errors
    /// 429 where the line is full, and where the client leaves before its turn has come: nobody reads that answer, and
    /// nothing is done for it.
    pub(crate) async fn acquire(
        &self,
        work: WorkKind,
        caller: &Caller,
    ) -> Result<ConcurrencyPermit, Problem> {
        let mut permit = self.try_acquire(work, caller)?;
        let queue = permit.slots.queue(&permit.actor, work);
        // tokio's semaphore (1.54) is fair, and wakes only the one that is next.
        tokio::select! {
            biased;
            () = caller.client().disconnected() => Err(too_many_in_progress(work)),
            exclusive = queue.acquire_owned() => {
                // Never an error: nobody closes the semaphore.
                permit.exclusive = exclusive.ok();
                Ok(permit)
            }
        }
    }

    fn slots(&self, work: WorkKind) -> &Arc<Slots> {
        &self.0[work as usize]
    }
}

impl WorkKind {
    const KINDS: usize = 6;

    /// How many at once, of all tokens together, with those that wait. Tokens make tokens, so a limit for each token is none
    /// where memory is held.
    fn max_total(self) -> usize {
        match self {
            Self::Backup => 1,
            Self::Export => 4,
            Self::AuditCheck => 16,
            Self::Body | Self::List | Self::LiveCheck => usize::MAX,
        }
    }

    /// How many at once, of one token, with those that wait.
    fn max_per_token(self) -> usize {
        match self {
            Self::AuditCheck | Self::Backup | Self::Export | Self::LiveCheck => 1,
            // One that is made, and four that wait.
            Self::List => 5,
            // Each holds 64 KiB and a connection.
            Self::Body => 8,
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::AuditCheck => {
                "The audit log is being checked for this token already, or as many wait for that as may. One check runs at a time."
            }
            Self::Body => "As many bodies of this token are on their way as may be.",
            Self::Backup => "A backup is being made already. One is made at a time.",
            Self::Export => {
                "An export of this token is on its way already, or as many as there may be. A token has one at a time."
            }
            Self::List => {
                "As many lists of this token wait to be made as may. They are made one after the other."
            }
            Self::LiveCheck => "A provider is being asked for this token already.",
        }
    }
}

/// The turns of one kind.
struct Slots {
    in_use: Mutex<HashMap<ActorId, InUse>>,
    /// Where all tokens wait in one line.
    exclusive: Arc<Semaphore>,
}

/// What one token has of them.
struct InUse {
    count: usize,
    /// Where each token waits in a line of its own.
    exclusive: Arc<Semaphore>,
}

impl Slots {
    fn take(self: &Arc<Self>, actor: &ActorId, work: WorkKind) -> Option<ConcurrencyPermit> {
        let mut in_use = self.in_use();
        let all: usize = in_use.values().map(|token| token.count).sum();
        let of_one = in_use.get(actor).map_or(0, |token| token.count);
        if all >= work.max_total() || of_one >= work.max_per_token() {
            return None;
        }
        in_use.entry(actor.clone()).or_default().count += 1;
        Some(ConcurrencyPermit {
            slots: self.clone(),
            actor: actor.clone(),
            exclusive: None,
        })
    }

    /// Where an actor that has a place waits until it is exclusive.
    fn queue(&self, actor: &ActorId, work: WorkKind) -> Arc<Semaphore> {
        let own = || {
            self.in_use()
                .get(actor)
                .map(|token| token.exclusive.clone())
        };
        match work {
            WorkKind::List => own().unwrap_or_else(|| self.exclusive.clone()),
            _ => self.exclusive.clone(),
        }
    }

    fn in_use(&self) -> MutexGuard<'_, HashMap<ActorId, InUse>> {
        // Each change is one step on the map, so whatever a panic left of it is whole.
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            in_use: Mutex::default(),
            exclusive: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Default for InUse {
    fn default() -> Self {
        Self {
            count: 0,
            exclusive: Arc::new(Semaphore::new(1)),
        }
    }
}

/// One permit, until it is dropped.
pub(crate) struct ConcurrencyPermit {
    slots: Arc<Slots>,
    actor: ActorId,
    /// Of those that wait for each other, one has it.
    exclusive: Option<OwnedSemaphorePermit>,
}

impl ConcurrencyPermit {
    /// Holds the turn until the whole body has been sent, or its reader has left, or the time for it is over: the body breaks
    /// off then.
    pub(crate) fn hold_until_sent(self, response: Response) -> Response {
        let permit = Arc::new(Mutex::new(Some(self)));
        let overdue = permit.clone();
        // Not in the body: a connection whose reader takes next to nothing does not ask for more of it.
        let deadline = tokio::spawn(async move {
            tokio::time::sleep(SEND_DEADLINE).await;
            drop(release(&overdue));
        });
        let deadline = deadline.abort_handle();
        response.map(|body| {
            Body::new(PermitBody {
                body,
                permit,
                deadline,
            })
        })
    }

    /// Does work that keeps a processor busy, on a thread of its own: the listener has one thread for everybody. Holds the
    /// turn until the work is done, whether or not someone still waits for it.
    pub(crate) async fn run_blocking<T: Send + 'static>(
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

impl Drop for ConcurrencyPermit {
    fn drop(&mut self) {
        self.exclusive = None;
        let mut in_use = self.slots.in_use();
        if let Entry::Occupied(mut mine) = in_use.entry(self.actor.clone()) {
            mine.get_mut().count -= 1;
            if mine.get().count == 0 {
                mine.remove();
            }
        }
    }
}

/// A body that holds a permit, until that is released.
struct PermitBody {
    body: Body,
    permit: Arc<Mutex<Option<ConcurrencyPermit>>>,
    deadline: AbortHandle,
}

fn release(permit: &Mutex<Option<ConcurrencyPermit>>) -> Option<ConcurrencyPermit> {
    permit.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl PermitBody {
    fn is_overdue(&self) -> bool {
        let permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        permit.is_none()
    }
}

impl Drop for PermitBody {
    fn drop(&mut self) {
        self.deadline.abort();
        drop(release(&self.permit));
    }
}

impl http_body::Body for PermitBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.is_overdue() {
            let overdue = axum::Error::new("the answer was not taken in time");
            return Poll::Ready(Some(Err(overdue)));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn too_many_in_progress(work: WorkKind) -> Problem {
    Problem::new(
        Kind::TooManyInProgress,
        work.detail(),
        "Wait as long as Retry-After says, then send the request again.",
    )
    .with_header(header::RETRY_AFTER, "5")
}

/// For the reader of an export or a backup: 100 MB at 170 kB a second.
const SEND_DEADLINE: Duration = Duration::from_secs(10 * 60);
