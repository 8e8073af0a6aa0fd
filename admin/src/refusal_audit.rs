//! The audit records of requests that were turned away.
//!
//! Anyone who reaches the listener can be turned away as often as they like, and each record waits for the disk. Past a
//! number a minute they are counted instead, so that nobody can fill the disk; the log has a line for each all the same.
//! Each token is counted for itself, and those of whom nothing is known together: so nobody hides what another one does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use keyside_credentials::{ActorContext, ActorId, Registry};
use tokio::time::Instant;

use crate::{problem::Kind, request_id::RequestId};

/// What was turned away of late.
pub(crate) struct RefusalAudit {
    registry: Arc<Registry>,
    windows: Mutex<HashMap<ActorId, Window>>,
}

/// One actor's refusals of a minute.
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

    /// Notes that someone was kept out, before they are told. The refusal stands whether or not it can be recorded.
    pub(crate) async fn audit(&self, id: &RequestId, actor: ActorId, kind: Kind) {
        let Some(note) = self.note(&actor, kind) else {
            return;
        };
        let act = ActorContext {
            actor,
            request_id: id.0.clone(),
        };
        if let Err(error) = self.registry.audit().refused(&act, &note).await {
            tracing::error!(request_id = id.0, %error, "a refusal could not be recorded");
        }
    }

    /// What to write for one more refusal, or nothing when it is only counted.
    fn note(&self, actor: &ActorId, kind: Kind) -> Option<String> {
        // A window is a count; whatever a panic left of it will do.
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
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
            true => std::mem::replace(self, Self::starting()).counted,
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

/// How many records of an actor's refusals a minute may have. A token's: more than a person's mistakes, less than a disk
/// notices. Nobody's: what there is to know of them is how many they are.
fn max_records(actor: &ActorId) -> u32 {
    match *actor == ActorId::anonymous() {
        true => 1,
        false => 20,
    }
}

const LENGTH: Duration = Duration::from_secs(60);
