//! Who did what: a hash-chained log that is on disk before the act.

/// The audit log.
pub struct Audit(());

impl Audit {
    pub(crate) fn new() -> Self {
        Self(())
    }
}
