//! Combines two snapshots: stored and declared credentials.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::{Snapshot, WorkspaceEntry};

/// A source of snapshots. Requests do not know whether workspaces are stored, declared, or both.
pub trait Snapshots: Send + Sync {
    /// The current snapshot. Called once per request, so it never waits for I/O.
    fn load(&self) -> Guard<Arc<Snapshot>>;
}

impl Snapshots for ArcSwap<Snapshot> {
    fn load(&self) -> Guard<Arc<Snapshot>> {
        self.load()
    }
}

/// Stored credentials, overlaid with declared ones: a stored credential loses its label to a
/// declared one with the same label. A declared one becomes the default if no stored one is.
pub(crate) struct Overlay {
    stored: Arc<ArcSwap<Snapshot>>,
    declared: Arc<ArcSwap<Snapshot>>,
    /// The last combination, if there was one.
    combined: ArcSwap<Snapshot>,
    combining: Mutex<()>,
}

impl Overlay {
    pub(crate) fn new(stored: Arc<ArcSwap<Snapshot>>, declared: Arc<ArcSwap<Snapshot>>) -> Self {
        Self {
            stored,
            declared,
            combined: ArcSwap::default(),
            combining: Mutex::default(),
        }
    }

    fn current(&self) -> Option<Guard<Arc<Snapshot>>> {
        let combined = self.combined.load();
        let is_current = combined
            .combined_from
            .as_ref()
            .is_some_and(|[stored, declared]| {
                Arc::ptr_eq(stored, &self.stored.load())
                    && Arc::ptr_eq(declared, &self.declared.load())
            });
        is_current.then_some(combined)
    }
}

impl Snapshots for Overlay {
    /// Combines again if either has changed, so that the next request sees the change. Locks only
    /// then.
    fn load(&self) -> Guard<Arc<Snapshot>> {
        if let Some(current) = self.current() {
            return current;
        }
        let _combining = self.combining.lock();
        if let Some(current) = self.current() {
            return current;
        }
        let combined = combine(&self.stored.load_full(), &self.declared.load_full());
        self.combined.store(Arc::new(combined));
        self.combined.load()
    }
}

fn combine(stored: &Arc<Snapshot>, declared: &Arc<Snapshot>) -> Snapshot {
    let mut combined = Snapshot::clone(stored);
    for over in declared.workspaces.values() {
        let id = &over.document.id;
        let entry = match stored.workspaces.get(id) {
            Some(under) => under.overlaid(over),
            None => WorkspaceEntry::clone(over),
        };
        combined.workspaces.insert(id.clone(), Arc::new(entry));
    }
    combined.combined_from = Some([stored.clone(), declared.clone()]);
    combined
}

impl WorkspaceEntry {
    fn overlaid(&self, over: &Self) -> Self {
        let mut document = self.document.clone();
        for (provider, declared) in &over.document.defaults {
            let defaults = document.defaults.entry(provider.clone()).or_default();
            defaults.live = defaults.live.take().or_else(|| declared.live.clone());
            defaults.sandbox = defaults.sandbox.take().or_else(|| declared.sandbox.clone());
        }
        self.with_all(document, over.credentials.values().cloned())
    }
}
