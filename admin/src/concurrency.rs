//! Limits how many expensive requests run at once, so that a valid token cannot exhaust the server:
//! per token, and for some kinds over all tokens.
//!
//! Lists queue behind the other lists of their token, or of the limited token that it comes from, and
//! checks of the audit log behind all others. Both queues are short, because each waiting request holds
//! a connection of the listener. Beyond these limits the response is 429.

use std::{
    collections::{HashMap, hash_map::Entry},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::header;
use http_body::{Frame, SizeHint};
use keyside_credentials::{ActorId, RequestContext};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
};

use crate::{
    access::Caller,
    problem::{Kind, Problem},
};

/// The kinds of expensive requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkKind {
    /// Reads and verifies the whole audit log.
    AuditCheck,
    /// Streams a backup. Changes wait while its snapshot is taken.
    Backup,
    /// Receives a request body, at the client's pace.
    Body,
    /// Sends the audit log or a workspace archive. An archive is in memory until it is sent.
    Export,
    /// Sorts all items to build one page.
    List,
    /// Sends a live check to a provider.
    LiveCheck,
    /// Sends a prompt to a provider, and the response to the client.
    Preview,
    /// Receives a receipt of an erasure, at the client's pace. Longer than other bodies.
    Receipt,
}

/// The permits in use, for each [`WorkKind`].
#[derive(Default)]
pub(crate) struct ConcurrencyLimits([Arc<Slots>; WorkKind::KINDS]);

impl ConcurrencyLimits {
    /// A permit without waiting.
    ///
    /// # Errors
    /// 429 if the token, or all tokens together, hold as many permits as allowed.
    pub(crate) fn try_acquire(
        &self,
        work: WorkKind,
        caller: &Caller,
    ) -> Result<ConcurrencyPermit, Problem> {
        let actor = &caller.principal().actor;
        let permit = self.slots(work).take(actor, work);
        permit.ok_or_else(|| too_many_in_progress(work))
    }

    /// A permit after waiting in a first-in-first-out queue. The place in the queue is limited as
    /// in [`ConcurrencyLimits::try_acquire`].
    ///
    /// # Errors
    /// 429 if the queue is full, or if the client disconnects while it waits: nobody reads that
    /// response, and the work is not started.
    pub(crate) async fn acquire(
        &self,
        work: WorkKind,
        caller: &Caller,
    ) -> Result<ConcurrencyPermit, Problem> {
        let mut permit = self.try_acquire(work, caller)?;
        let Queue(queue) = permit.slots.queue(&caller.principal().origin, work);
        // tokio's semaphore (1.54) is fair and wakes only the next waiter.
        tokio::select! {
            biased;
            () = caller.client().disconnected() => Err(too_many_in_progress(work)),
            exclusive = queue.acquire_owned() => {
                // Never an error: the semaphore is never closed.
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
    const KINDS: usize = 8;

    /// The limit over all tokens, waiting requests included. Tokens can create tokens, so where
    /// memory is held a limit per token is not enough.
    fn max_total(self) -> usize {
        match self {
            Self::Backup => 1,
            Self::Export => 4,
            // A receipt may have 2 MiB.
            Self::AuditCheck | Self::Receipt => 16,
            Self::Preview => 32,
            Self::Body | Self::List | Self::LiveCheck => usize::MAX,
        }
    }

    /// The limit per token, waiting requests included.
    fn max_per_token(self) -> usize {
        match self {
            Self::AuditCheck | Self::Backup | Self::Export | Self::LiveCheck | Self::Receipt => 1,
            // One that runs and four that wait.
            Self::List => 5,
            Self::Preview => 4,
            // Each holds 64 KiB and a connection.
            Self::Body => 8,
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::AuditCheck => {
                "A check of the audit log with this token is already running, or the queue is full. One check runs at a time."
            }
            Self::Body => "Eight request bodies with this token are already being received.",
            Self::Receipt => "A receipt is already being received with this token, or 16 are.",
            Self::Backup => "A backup is already running. One runs at a time.",
            Self::Export => {
                "An export with this token is already running, or four exports are. One runs per token."
            }
            Self::List => {
                "Five list requests with this token are already running or queued. One runs at a time."
            }
            Self::LiveCheck => {
                "A live check with this token is already running. One runs at a time."
            }
            Self::Preview => {
                "Four previews with this token are already running, or 32 are. Four run per token."
            }
        }
    }
}

/// The permits of one kind.
#[derive(Default)]
struct Slots {
    /// Number of permits of each token.
    in_use: Mutex<HashMap<ActorId, usize>>,
    /// The queue that all tokens share.
    shared_queue: Queue,
    /// By the tokens' origin.
    queues: Mutex<HashMap<ActorId, Queue>>,
}

/// A queue whose head runs alone.
#[derive(Clone)]
struct Queue(Arc<Semaphore>);

impl Default for Queue {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Slots {
    fn take(self: &Arc<Self>, actor: &ActorId, work: WorkKind) -> Option<ConcurrencyPermit> {
        let mut in_use = self.in_use.lock();
        let all: usize = in_use.values().sum();
        let of_one = in_use.get(actor).copied().unwrap_or(0);
        if all >= work.max_total() || of_one >= work.max_per_token() {
            return None;
        }
        *in_use.entry(actor.clone()).or_default() += 1;
        Some(ConcurrencyPermit {
            slots: self.clone(),
            actor: actor.clone(),
            exclusive: None,
        })
    }

    /// The queue that requests of this kind wait in.
    fn queue(&self, origin: &ActorId, work: WorkKind) -> Queue {
        match work {
            WorkKind::List => {
                let mut queues = self.queues.lock();
                // Queues that nobody waits in must not accumulate.
                if queues.len() == queues.capacity() {
                    queues.retain(|_, queue| Arc::strong_count(&queue.0) > 1);
                }
                queues.entry(origin.clone()).or_default().clone()
            }
            _ => self.shared_queue.clone(),
        }
    }
}

/// A permit, which is returned on drop.
pub(crate) struct ConcurrencyPermit {
    slots: Arc<Slots>,
    actor: ActorId,
    /// Held by the one request that is at the head of its queue.
    exclusive: Option<OwnedSemaphorePermit>,
}

impl ConcurrencyPermit {
    /// Keeps the permit until the body is sent, the client disconnects, or [`SEND_DEADLINE`]
    /// passes; the last ends the body with an error.
    pub(crate) fn hold_until_sent(self, response: Response) -> Response {
        let permit = Arc::new(Mutex::new(Some(self)));
        let overdue = permit.clone();
        // A task, and not a check while polling: hyper does not poll the body of a client that does
        // not read.
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

    /// Runs CPU-bound work on the blocking pool: the listener has one thread for all connections.
    /// Keeps the permit until the work is done, even if the client disconnects.
    pub(crate) async fn run_blocking<T: Send + 'static>(
        self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<(T, Self), Problem> {
        let runtime = Handle::current();
        let work = RequestContext::inherit(work);
        let done = tokio::task::spawn_blocking(move || (runtime.block_on(work), self));
        // The panic message went to standard error. It may contain anything, so it is not repeated.
        done.await
            .map_err(|_| Problem::internal("blocking work panicked or was cancelled"))
    }
}

impl Drop for ConcurrencyPermit {
    fn drop(&mut self) {
        self.exclusive = None;
        let mut in_use = self.slots.in_use.lock();
        if let Entry::Occupied(mut mine) = in_use.entry(self.actor.clone()) {
            *mine.get_mut() -= 1;
            if *mine.get() == 0 {
                mine.remove();
            }
        }
    }
}

/// A response body that holds a permit until it ends or is overdue.
struct PermitBody {
    body: Body,
    permit: Arc<Mutex<Option<ConcurrencyPermit>>>,
    deadline: AbortHandle,
}

fn release(permit: &Mutex<Option<ConcurrencyPermit>>) -> Option<ConcurrencyPermit> {
    permit.lock().take()
}

impl PermitBody {
    fn is_overdue(&self) -> bool {
        let permit = self.permit.lock();
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
            let overdue = axum::Error::new("the client did not read the response in time");
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

/// Time limit for sending an export, a backup (100 MB at 170 kB a second) or a preview.
pub(crate) const SEND_DEADLINE: Duration = Duration::from_secs(10 * 60);
