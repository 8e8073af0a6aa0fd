//! The life cycle of a credential's versions: current -> grace -> destroyed. Pure: time
//! is passed in. Other modules decide who may take which step, and write the records.

use std::sync::Arc;

use jiff::Timestamp;

use super::{CredentialDocument, End, VersionDocument};
use crate::model::VersionState;

impl CredentialDocument {
    pub(crate) fn version(&self, number: u32) -> Option<&VersionDocument> {
        self.versions
            .iter()
            .find(|version| version.number == number)
    }

    /// Numbers are never reused, whatever became of the version.
    pub(crate) fn next_number(&self) -> u32 {
        self.versions.last().map_or(1, |last| last.number + 1)
    }

    pub(crate) fn state(&self, version: &VersionDocument, now: Timestamp) -> VersionState {
        match version {
            gone if gone.destroyed_at.is_some()
                || gone.promoted_at.is_none()
                || gone.has_ended(now) =>
            {
                VersionState::Destroyed
            }
            current if current.number == self.current => VersionState::Current,
            _ => VersionState::Grace,
        }
    }

    /// Versions that can be rolled back to, oldest first.
    pub(crate) fn in_grace(
        &self,
        now: Timestamp,
    ) -> impl DoubleEndedIterator<Item = &VersionDocument> {
        let versions = self.versions.iter();
        versions.filter(move |version| self.state(version, now) == VersionState::Grace)
    }

    /// Appends a version. Above the limit, the oldest destroyed version is dropped; the audit log
    /// still has it. The first one is kept, because its metadata identifies the request that
    /// created the credential.
    pub(crate) fn push(&mut self, version: VersionDocument) {
        if self.versions.len() >= MAX_VERSIONS {
            let gone =
                |version: &VersionDocument| version.destroyed_at.is_some() && version.number > 1;
            if let Some(oldest) = self.versions.iter().position(gone) {
                self.versions.remove(oldest);
            }
        }
        self.versions.push(version);
    }

    /// Makes version `number` current. The previous one is kept until `end`, or destroyed at once
    /// if that is now. Each version keeps the expiry of its own secret.
    pub(crate) fn promote(&mut self, number: u32, end: Timestamp, now: Timestamp) {
        let before = std::mem::replace(&mut self.current, number);
        let ends = End {
            at: self.expires_at,
        };
        for version in &mut self.versions {
            if version.number == before {
                version.until = Some(end);
                version.ends = Some(ends);
            }
            if version.number == number {
                version.until = None;
                version.promoted_at.get_or_insert(now);
                self.expires_at = version.ends.take().unwrap_or(ends).at;
            }
        }
        self.destroy_ended(now);
    }

    /// Whether a version has ended and still has sealed bytes.
    pub(crate) fn has_ended(&self, now: Timestamp) -> bool {
        self.versions.iter().any(|version| version.is_over(now))
    }

    /// Removes the sealed bytes of versions that have ended, and returns their numbers.
    pub(crate) fn destroy_ended(&mut self, now: Timestamp) -> Vec<u32> {
        self.destroy(now, |version| version.is_over(now))
    }

    pub(crate) fn destroy_all(&mut self, now: Timestamp) -> Vec<u32> {
        self.destroy(now, |_| true)
    }

    fn destroy(&mut self, now: Timestamp, which: impl Fn(&VersionDocument) -> bool) -> Vec<u32> {
        let is_kept = |version: &&mut VersionDocument| version.destroyed_at.is_none();
        let doomed = self.versions.iter_mut().filter(is_kept);
        doomed
            .filter(|version| which(version))
            .map(|version| {
                version.destroyed_at = Some(now);
                version.sealed = Arc::default();
                version.number
            })
            .collect()
    }
}

impl VersionDocument {
    fn has_ended(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|end| end <= now)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.destroyed_at.is_none() && self.has_ended(now)
    }
}

/// Some 40 KB of a document.
const MAX_VERSIONS: usize = 100;
