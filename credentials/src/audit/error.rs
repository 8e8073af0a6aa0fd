//! Why a log or a receipt is not confirmed.

use std::{fmt, path::PathBuf};

use keyside_store::{StorageError, chain::ChainName};

use crate::{keyring::KeyringError, kms::KmsError};

/// A record that is not what was written, or a whole chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// Its chain.
    pub chain: ChainName,
    /// Its position there; 0 for the chain's head.
    pub position: u64,
    /// What is wrong with it.
    pub finding: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            chain,
            position,
            finding,
        } = self;
        match position {
            0 => write!(f, "the chain {chain}: {finding}"),
            position => write!(f, "audit record {position} of {chain} {finding}"),
        }
    }
}

/// Why the log was not confirmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is not what was written.
    #[error("{0}")]
    Broken(Break),
    /// The receipt is not confirmed.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// It could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The keyring has the key that authenticates it.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// What unwraps that key.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// The folder is none that Keyside has served, or not all of it.
    #[error("there is no {}", path.display())]
    NothingThere {
        /// What is missing.
        path: PathBuf,
    },
}

impl VerifyError {
    /// Whether it says what is wrong, and not what kept it from being found out.
    pub fn is_finding(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Receipt(_))
    }
}

/// Why a receipt is not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not this installation's signature.
    #[error("this installation did not give the receipt out, or it was changed since")]
    Foreign,
    /// The installation's own, and its log holds another record there or none.
    #[error(
        "the audit log does not tell of that erasing: it was put back to a state from before, and the workspace may be \
         back with it"
    )]
    NotInLog,
}
