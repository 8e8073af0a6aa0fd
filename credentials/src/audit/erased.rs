//! Where the records of an erased workspace end: one of the same name that was made later is another one, and whoever is
//! limited to it must not read what was the earlier one's.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use super::{Event, Record};
use crate::WorkspaceId;

/// By workspace, the position of the last record that it was erased.
#[derive(Default)]
pub(super) struct Erased(RwLock<HashMap<WorkspaceId, u64>>);

impl Erased {
    pub(super) fn note(&self, record: &Record) {
        if let (Event::WorkspaceErased, Some(workspace)) = (record.event, &record.workspace) {
            let mut erased = self.0.write().unwrap_or_else(PoisonError::into_inner);
            let last = erased.entry(workspace.clone()).or_default();
            *last = record.position.max(*last);
        }
    }

    /// Where it stands that a workspace of that name was erased last.
    pub(super) fn last(&self, workspace: &WorkspaceId) -> Option<u64> {
        let erased = self.0.read().unwrap_or_else(PoisonError::into_inner);
        erased.get(workspace).copied()
    }

    /// Whether a record is about a workspace of that name that is no more.
    pub(super) fn covers(&self, workspace: &WorkspaceId, position: u64) -> bool {
        self.last(workspace).is_some_and(|last| position <= last)
    }
}
