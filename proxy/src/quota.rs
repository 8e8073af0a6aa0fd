//! Shares bounded resources among workspaces: requests in flight and upstream connections.
//!
//! One rule keeps workspaces from starving each other: a workspace gets another permit only while
//! it holds fewer than are free. One greedy workspace ends up with half of the permits at most, the
//! next one with half of the rest, and a newcomer still gets one. (In networking this is a dynamic
//! threshold: Choudhury and Hahne, 1998.)

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use keyside_credentials::WorkspaceId;
use parking_lot::Mutex;

/// A bounded number of permits.
pub(crate) struct Quota {
    total: usize,
    in_use: Mutex<InUse>,
}

#[derive(Default)]
struct InUse {
    all: usize,
    by_workspace: HashMap<WorkspaceId, usize>,
}

/// One permit of a quota; released on drop.
pub(crate) struct QuotaPermit {
    quota: Arc<Quota>,
    workspace: WorkspaceId,
}

/// The permits whose release helps a workspace that gets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// One permit of any workspace is enough.
    Any,
    /// The workspace has its share, and gets no more at the expense of others: it must give up
    /// permits of its own.
    Own,
}

impl Quota {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            in_use: Mutex::default(),
        })
    }

    /// A permit for `workspace`, unless it holds as many as are free: then what has to be released.
    pub(crate) fn try_acquire(
        self: &Arc<Self>,
        workspace: &WorkspaceId,
    ) -> Result<QuotaPermit, Release> {
        let mut in_use = self.in_use.lock();
        let free = self.total.saturating_sub(in_use.all);
        let own = in_use.by_workspace.get_mut(workspace);
        match own.as_deref().copied().unwrap_or(0).cmp(&free) {
            Ordering::Less => {}
            Ordering::Equal => return Err(Release::Any),
            Ordering::Greater => return Err(Release::Own),
        }
        match own {
            Some(own) => *own += 1,
            None => {
                in_use.by_workspace.insert(workspace.clone(), 1);
            }
        }
        in_use.all += 1;
        Ok(QuotaPermit {
            quota: self.clone(),
            workspace: workspace.clone(),
        })
    }

    /// How many permits are in use.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use.lock().all
    }

    fn release(&self, workspace: &WorkspaceId) {
        let mut in_use = self.in_use.lock();
        in_use.all -= 1;
        if let Some(own) = in_use.by_workspace.get_mut(workspace) {
            *own -= 1;
            // Workspaces come and go, so an entry without permits is removed.
            if *own == 0 {
                in_use.by_workspace.remove(workspace);
            }
        }
    }
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        self.quota.release(&self.workspace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(quota: &Arc<Quota>, workspace: &str) -> Vec<QuotaPermit> {
        let workspace = workspace.parse().unwrap();
        std::iter::from_fn(|| quota.try_acquire(&workspace).ok()).collect()
    }

    #[test]
    fn one_workspace_gets_half_and_a_newcomer_always_finds_a_place() {
        let quota = Quota::new(100);
        let hog = take_all(&quota, "hog");
        assert_eq!(hog.len(), 50);
        let second = take_all(&quota, "second");
        assert_eq!(second.len(), 25);
        let newcomer = take_all(&quota, "newcomer");
        assert!(!newcomer.is_empty());
    }

    #[test]
    fn a_released_permit_can_be_acquired_again() {
        let quota = Quota::new(4);
        for _ in 0..10 {
            assert_eq!(take_all(&quota, "one").len(), 2);
        }
        assert!(quota.in_use.lock().by_workspace.is_empty());
    }

    #[test]
    fn a_workspace_with_its_share_can_only_exchange_its_own_permits() {
        let (quota, workspace) = (Quota::new(8), "one".parse().unwrap());
        let refused = || quota.try_acquire(&workspace).err();
        assert_eq!(refused(), None);
        let mut own = take_all(&quota, "one");
        assert_eq!(refused(), Some(Release::Any));
        let others = take_all(&quota, "two");
        assert_eq!((own.len(), others.len()), (4, 2));
        assert_eq!(refused(), Some(Release::Own));
        own.truncate(2);
        assert_eq!(refused(), None);
    }

    #[test]
    fn a_single_permit_goes_to_one_workspace() {
        let quota = Quota::new(1);
        let first = take_all(&quota, "one");
        assert_eq!((first.len(), take_all(&quota, "two").len()), (1, 0));
    }
}
