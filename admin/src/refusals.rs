//! The audit records of requests that were turned away.
//!
//! Anyone who reaches the listener can be turned away as often as they like, and each record waits for the disk. Past a
//! number a minute they are counted instead, so that nobody can fill the disk or hide one record among a million; the
//! log has a line for each all the same.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use keyside_credentials::{Act, ActorId, Registry};

use crate::{problem::Kind, request_id::RequestId};

/// What was turned away of late.
pub(crate) struct Refusals {
    registry: Arc<Registry>,
    window: Mutex<Window>,
}

struct Window {
    began: Instant,
    recorded: u32,
    counted: u64,
}

impl Refusals {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        let window = Mutex::new(Window::starting());
        Self { registry, window }
    }

    /// Notes that someone was kept out, before they are told. The refusal stands whether or not it can be recorded.
    pub(crate) async fn audit(&self, id: &RequestId, actor: ActorId, kind: Kind) {
        let Some(note) = self.note(kind) else {
            return;
        };
        let act = Act {
            actor,
            request_id: id.0.clone(),
        };
        if let Err(error) = self.registry.audit().refused(&act, &note).await {
            tracing::error!(request_id = id.0, %error, "a refusal could not be recorded");
        }
    }

    fn note(&self, kind: Kind) -> Option<String> {
        // A window is a count; whatever a panic left of it will do.
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.note(kind)
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

    /// What to write for one more refusal, or nothing when it is only counted.
    fn note(&mut self, kind: Kind) -> Option<String> {
        let before = match self.began.elapsed() >= LENGTH {
            true => std::mem::replace(self, Self::starting()).counted,
            false => 0,
        };
        if self.recorded >= RECORDED_SINGLY {
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

const LENGTH: Duration = Duration::from_secs(60);

/// More than a person's mistakes in a minute, less than a disk notices.
const RECORDED_SINGLY: u32 = 60;
