//! The life of a credential's versions: staged -> current -> grace -> destroyed. Pure, with the time passed in; who may
//! take which step, and what is written of it, is said elsewhere.

use jiff::Timestamp;

use super::{CredentialDocument, End, VersionDocument};
use crate::model::VersionState;

impl CredentialDocument {
    pub(crate) fn version(&self, number: u32) -> Option<&VersionDocument> {
        self.versions
            .iter()
            .find(|version| version.number == number)
    }

    /// No number is given out twice, whatever became of the version.
    pub(crate) fn next_number(&self) -> u32 {
        self.versions.last().map_or(1, |last| last.number + 1)
    }

    /// Where a version stands.
    pub(crate) fn state(&self, version: &VersionDocument, now: Timestamp) -> VersionState {
        match version {
            gone if gone.destroyed_at.is_some() || gone.has_ended(now) => VersionState::Destroyed,
            current if current.number == self.current => VersionState::Current,
            staged if staged.promoted_at.is_none() => VersionState::Staged,
            _ => VersionState::Grace,
        }
    }

    /// Those that can be gone back to, oldest first.
    pub(crate) fn in_grace(
        &self,
        now: Timestamp,
    ) -> impl DoubleEndedIterator<Item = &VersionDocument> {
        let versions = self.versions.iter();
        versions.filter(move |version| self.state(version, now) == VersionState::Grace)
    }

    /// Appends a version. Of very many, the oldest that are destroyed are left out: the audit log has them. The first
    /// one stays, because it tells which request made the credential.
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

    /// Makes version `number` the one that is used. The one before it is kept until `end`; when that is now, it is
    /// destroyed with the same stroke. Each takes with it when its secret ends.
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

    /// Whether there is a version whose time is over and whose sealed bytes are still here.
    pub(crate) fn has_ended(&self, now: Timestamp) -> bool {
        self.versions.iter().any(|version| version.is_over(now))
    }

    /// Takes out the sealed bytes of versions whose time is over, and names them.
    pub(crate) fn destroy_ended(&mut self, now: Timestamp) -> Vec<u32> {
        self.destroy(now, |version| version.is_over(now))
    }

    /// Takes out those of versions that were never promoted.
    pub(crate) fn destroy_staged(&mut self, now: Timestamp) -> Vec<u32> {
        self.destroy(now, |version| version.promoted_at.is_none())
    }

    /// Takes out all of them.
    pub(crate) fn destroy_all(&mut self, now: Timestamp) -> Vec<u32> {
        self.destroy(now, |_| true)
    }

    fn destroy(&mut self, now: Timestamp, which: impl Fn(&VersionDocument) -> bool) -> Vec<u32> {
        let there = |version: &&mut VersionDocument| version.destroyed_at.is_none();
        let doomed = self.versions.iter_mut().filter(there);
        doomed
            .filter(|version| which(version))
            .map(|version| {
                version.destroyed_at = Some(now);
                version.sealed = Vec::new();
                version.number
            })
            .collect()
    }
}

impl VersionDocument {
    /// Whether it ever was the current one.
    pub(crate) fn was_used(&self) -> bool {
        self.promoted_at.is_some()
    }

    fn has_ended(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|end| end <= now)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.destroyed_at.is_none() && self.has_ended(now)
    }
}

/// About 40 KB of a document.
const MAX_VERSIONS: usize = 100;
