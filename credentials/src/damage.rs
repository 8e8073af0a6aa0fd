//! Why a stored document is not trusted.

use crate::sealing::SealError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("it is gone")]
    Gone,
    #[error("it is not what was written: edited, or something else was put in its place")]
    Edited,
    #[error("its key is not in the keyring")]
    KeyGone,
    #[error("it was moved from the place it was written for")]
    Misplaced,
    #[error(
        "the head of its workspace is not what was written: edited, put back to an older state, or gone"
    )]
    Head,
    #[error("the workspace's registration in the installation's chain is missing or edited")]
    Registration,
    #[error(
        "a page of its workspace's map is missing or edited, so the workspace's contents are unknown"
    )]
    Map,
    #[error(transparent)]
    Sealed(#[from] SealError),
}

impl Damage {
    /// Whether the record is intact, and only the key that sealed its secret is missing.
    pub(crate) fn is_of_key(self) -> bool {
        matches!(self, Self::KeyGone)
    }

    /// Whether the whole chain is damaged, so that nothing can be committed to it.
    pub(crate) fn is_of_chain(self) -> bool {
        matches!(self, Self::Head | Self::Registration | Self::Map)
    }
}
