//! Audits refused requests.
//!
//! Anyone who reaches the listener can cause refusals, and each audit record is a write to disk.
//! Beyond a number per minute they are only counted, so that nobody can fill the disk; the log
//! still has a line for each. Each token has its own count, and all unauthenticated requests share
//! one, so that nobody can hide another's refusals.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use keyside_credentials::{ActorContext, ActorId, Registry, RequestId};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::problem::Kind;

/// The refusals of the last minute, by actor.
pub(crate) struct RefusalAudit {
    registry: Arc<Registry>,
    windows: Mutex<HashMap<ActorId, Window>>,
}

/// The refusals of one actor within a minute.
struct Window {
    began: Instant,
    recorded: u32,
    counted: u64,
}

impl RefusalAudit {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        let windows = Mutex::default();
        Self { registry, windows }
    }

    /// Writes the audit record before the response is sent. If that fails, the request is refused
    /// all the same.
    pub(crate) async fn audit(&self, id: &RequestId, actor: ActorId, kind: Kind) {
        let Some(note) = self.note(&actor, kind) else {
            return;
        };
        let act = ActorContext {
            actor,
            request_id: id.as_str().to_owned(),
        };
        if let Err(error) = self.registry.audit().refused(&act, &note).await {
            tracing::error!(request_id = id.as_str(), %error, "a refusal could not be recorded");
        }
    }

    /// The note of the audit record, or `None` if the refusal is only counted.
    fn note(&self, actor: &ActorId, kind: Kind) -> Option<String> {
        // Counts, which are usable even after a panic.
        let mut windows = self.windows.lock();
        windows.retain(|_, window| !window.is_over() || window.counted > 0);
        let window = windows
            .entry(actor.clone())
            .or_insert_with(Window::starting);
        window.note(kind, max_records(actor))
    }
}

impl Window {
    fn starting() -> Self {
        Self {
            began: Instant::now(),
            recorded: 0,
            counted: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.began.elapsed() >= LENGTH
    }

    fn note(&mut self, kind: Kind, max_records: u32) -> Option<String> {
        let before = match self.is_over() {
            true => mem::replace(self, Self::starting()).counted,
            false => 0,
        };
        if self.recorded >= max_records {
            self.counted += 1;
            return None;
        }
        self.recorded += 1;
        Some(match before {
            0 => kind.name().to_owned(),
            more => format!("{}; {more} more before this one, counted only", kind.name()),
        })
    }
}

/// The number of records per minute: for a token more than a person's mistakes and less than a disk
/// notices; for all unauthenticated requests together one, with the count of the rest.
fn max_records(actor: &ActorId) -> u32 {
    match *actor == ActorId::anonymous() {
        true => 1,
        false => 20,
    }
}

/// The window of the limits.
const LENGTH: Duration = Duration::from_secs(60);
