//! The results of verifying the audit log, and of verifying a receipt against it.

use keyside_credentials::{
    ChainName,
    audit::{Verified, VerifyError},
};
use serde::Serialize;
use utoipa::ToSchema;

/// The result of verifying the audit log.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyView {
    pub(crate) intact: bool,
    /// The number of records in all chains.
    pub(crate) records: Option<u64>,
    /// The number of chains: the installation's, and one per workspace, including erased ones.
    pub(crate) chains: Option<usize>,
    /// The chain that failed.
    #[schema(value_type = Option<String>)]
    pub(crate) chain: Option<ChainName>,
    /// The first record that failed; null if the head of the chain did.
    pub(crate) position: Option<u64>,
    /// Why verification failed.
    pub(crate) finding: Option<String>,
}

/// The result of verifying a receipt.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmView {
    confirmed: bool,
    /// Why the receipt is not confirmed.
    finding: Option<String>,
}

impl VerifyView {
    /// The view of a verification.
    ///
    /// # Errors
    /// The verification was not completed.
    pub fn of(verified: Result<Verified, VerifyError>) -> Result<Self, VerifyError> {
        match verified {
            Ok(verified) => Ok(Self {
                intact: true,
                records: Some(verified.records),
                chains: Some(verified.heads.len()),
                ..Self::default()
            }),
            Err(VerifyError::Broken(found)) => Ok(Self {
                finding: Some(found.to_string()),
                chain: Some(found.chain),
                position: Some(found.position).filter(|position| *position > 0),
                ..Self::default()
            }),
            Err(error) => Err(error),
        }
    }
}

impl ConfirmView {
    /// The view of a receipt's verification.
    ///
    /// # Errors
    /// The verification was not completed.
    pub fn of(confirmed: Result<(), VerifyError>) -> Result<Self, VerifyError> {
        let finding = match confirmed {
            Ok(()) => None,
            Err(error) if error.is_finding() => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        Ok(Self {
            confirmed: finding.is_none(),
            finding,
        })
    }
}
