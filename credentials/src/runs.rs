//! What credentials were used for: one record a proxied request, written behind.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{CredentialId, Environment, Label, WorkspaceId};

/// One proxied request. Never its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// When it came in.
    pub at: Timestamp,
    /// Its id in responses and logs.
    pub request_id: Box<str>,
    /// The workspace that paid.
    pub workspace: WorkspaceId,
    /// The provider.
    pub provider: Arc<str>,
    /// The credential it used.
    pub credential: CredentialId,
    /// That credential's name at the time.
    pub label: Label,
    /// Live or sandbox.
    pub environment: Environment,
    /// The upstream's status, 0 for no response.
    pub status: u16,
    /// How it ended, in one word.
    pub outcome: &'static str,
    /// From its first byte to the answer's last, in microseconds.
    pub latency_us: u64,
    /// From its first byte to the answer's head, in microseconds.
    pub first_byte_us: Option<u64>,
    /// Tokens in, as the provider counted them.
    pub input_tokens: Option<u64>,
    /// Tokens out, as the provider counted them.
    pub output_tokens: Option<u64>,
    /// The runner's own id for it.
    pub run_id: Option<Box<str>>,
    /// The runner's tag.
    pub tag: Option<Box<str>>,
}

/// The run records.
pub struct Runs(());

impl Runs {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// Notes a run. Never waits: when the queue is full the record is counted and dropped.
    pub fn record(&self, _run: Run) {}

    /// The latest runs, newest first.
    pub async fn recent(&self, _limit: usize) -> Vec<StoredRun> {
        Vec::new()
    }

    /// Returns when everything recorded so far is on disk.
    pub async fn flush(&self) {}
}

/// A run as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRun {
    /// When it came in.
    pub at: Timestamp,
}
