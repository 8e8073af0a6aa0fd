//! Audits who was refused, and who signed in to the page.
//!
//! Anyone who reaches the listener can cause refusals, anyone with a token sign-ins, and each audit
//! record is a write to disk. Beyond a number per minute they are only counted, so that nobody can
//! fill the disk; the log still has a line for each. Each token has its own count, and all
//! unauthenticated requests share one, so that nobody can hide what another did.

use std::{collections::HashMap, fmt::Display, mem, sync::Arc, time::Duration};

use keyside_credentials::{ActorContext, ActorId, Registry};
use parking_lot::Mutex;
use tokio::time::Instant;

/// The records of the last minute, by actor.
pub(crate) struct AccessAudit {
    registry: Arc<Registry>,
    windows: Mutex<HashMap<ActorId, Window>>,
}

/// What proved who a person is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Token,
    /// The code of a one-time link.
    Link,
}

/// The records of one actor within a minute.
struct Window {
    began: Instant,
    recorded: u32,
    counted: u64,
}

impl AccessAudit {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        let windows = Mutex::default();
        Self { registry, windows }
    }

    /// Writes the record of a refusal before the response is sent. If that fails, the request is
    /// refused all the same.
    pub(crate) async fn refused(&self, by: &ActorContext, what: &str) {
        if let Some(note) = self.note(&by.actor, what) {
            log_failure(by, self.registry.audit().refused(by, &note).await);
        }
    }

    /// Writes the record of a sign-in before the session opens. If that fails, it opens all the same:
    /// on a full disk a person has to be able to revoke keys, and nothing can be changed without a
    /// record of its own.
    pub(crate) async fn signed_in(&self, by: &ActorContext, proof: Proof) {
        if let Some(note) = self.note(&by.actor, proof.in_words()) {
            log_failure(by, self.registry.audit().signed_in(by, &note).await);
        }
    }

    /// The same for a person who proves again who they are.
    pub(crate) async fn reauthenticated(&self, by: &ActorContext, proof: Proof) {
        if let Some(note) = self.note(&by.actor, proof.in_words()) {
            log_failure(by, self.registry.audit().reauthenticated(by, &note).await);
        }
    }

    /// The note of the audit record, or `None` if it is only counted.
    fn note(&self, actor: &ActorId, what: &str) -> Option<String> {
        let mut windows = self.windows.lock();
        windows.retain(|_, window| !window.is_over() || window.counted > 0);
        let window = windows
            .entry(actor.clone())
            .or_insert_with(Window::starting);
        window.note(what, max_records(actor))
    }
}

impl Proof {
    fn in_words(self) -> &'static str {
        match self {
            Self::Token => "with the token",
            Self::Link => "with a link",
        }
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

    fn note(&mut self, what: &str, max_records: u32) -> Option<String> {
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
            0 => what.to_owned(),
            more => format!("{what}; {more} more before this one, counted only"),
        })
    }
}

fn log_failure(by: &ActorContext, recorded: Result<(), impl Display>) {
    if let Err(error) = recorded {
        let request_id = by.request_id.as_str();
        tracing::error!(request_id, %error, "access could not be recorded");
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
