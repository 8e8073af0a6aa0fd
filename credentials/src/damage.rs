//! Why a stored document is not believed.

use crate::sealing::SealError;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("it is gone")]
    Gone,
    #[error("it is not what was written: edited, or something else was put in its place")]
    Edited,
    #[error("its key is not in the keyring")]
    KeyGone,
    #[error("it stands in another place than it was written for")]
    Misplaced,
    #[error(
        "the head of its workspace is not what was written: edited, put back to an older state, or gone"
    )]
    Head,
    #[error(transparent)]
    Sealed(#[from] SealError),
}
