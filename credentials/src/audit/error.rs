//! Why a log or a receipt could not be verified.

use std::path::PathBuf;

use keyside_store::{StorageError, chain::ChainName};

use crate::{keyring::KeyringError, kms::KmsError};

/// A record or a whole chain that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", phrase(chain, *position, finding))]
pub struct Break {
    /// The chain.
    pub chain: ChainName,
    /// The record's position in the chain; 0 for the chain's head.
    pub position: u64,
    /// What is wrong, as a phrase for people.
    pub finding: String,
}

impl Break {
    /// A finding about a chain as a whole.
    pub(super) fn of_chain(chain: &ChainName, finding: impl Into<String>) -> Self {
        Self::at(chain, 0, finding)
    }

    pub(super) fn at(chain: &ChainName, position: u64, finding: impl Into<String>) -> Self {
        Self {
            chain: chain.clone(),
            position,
            finding: finding.into(),
        }
    }
}

fn phrase(chain: &ChainName, position: u64, finding: &str) -> String {
    match position {
        0 => format!("the chain {chain}: {finding}"),
        position => format!("audit record {position} of {chain} {finding}"),
    }
}

/// Why audit records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Records are damaged or missing.
    #[error(transparent)]
    Damaged(#[from] Break),
    /// The store could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why the log could not be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is not what was written.
    #[error(transparent)]
    Broken(#[from] Break),
    /// The receipt could not be verified.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The store could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The keyring could not be read.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The key service did not unwrap the keyring's keys.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// The folder is not a complete data folder of Keyside.
    #[error("there is no {}", .0.display())]
    NothingThere(PathBuf),
}

impl VerifyError {
    /// Whether the error is a result of the verification, rather than the reason why it was not
    /// completed.
    pub fn is_finding(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Receipt(_))
    }
}

/// Why a receipt could not be verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The signature is not this installation's.
    #[error("this installation did not issue the receipt, or it was edited")]
    Foreign,
    /// The signature is valid, but the log does not have that record.
    #[error(
        "the audit log does not tell of that erasing: it was put back to a state from before, and the workspace may be \
         back with it"
    )]
    NotInLog,
}
