//! The errors of the registry, the store and the proxy in the terms of the API.

use http::header;
use keyside_credentials::{
    ChangeError, CommitError, KmsError, StorageError, preview::PreviewError,
};

use super::{FieldError, INVALID_TOKEN, Kind, Origin, Problem, sentence};

/// Why the registry rejected a change, in the terms of the API.
impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let said = sentence(&error.to_string());
        if let Some((kind, remedy)) = rejection(&error) {
            return Self::new(kind, said, remedy).with_errors(at_fault(&error));
        }
        match error {
            ChangeError::ReferenceNotAllowed { .. } | ChangeError::ReferenceRefused { .. } => {
                Self::field("secretRef", said)
            }
            ChangeError::AccessEnded => {
                let remedy = "Send the request with another token.";
                Self::new(Kind::Unauthenticated, said, remedy)
                    .with_header(header::WWW_AUTHENTICATE, INVALID_TOKEN)
            }
            ChangeError::ScopeExceeded | ChangeError::TooManyTokens => {
                Self::field("workspaces", said)
            }
            ChangeError::Superseded { .. } => Self::superseded(),
            ChangeError::GraceTooLong | ChangeError::TooManyInGrace => {
                Self::field("graceSeconds", said)
            }
            ChangeError::VersionNotInGrace { .. } => Self::field("version", said),
            ChangeError::DefaultNeeded => Self::field("default", said),
            ChangeError::ProviderUnknown => {
                Self::field("provider", "the catalogue has no such provider")
            }
            ChangeError::EndpointMissing { .. }
            | ChangeError::EndpointRefused(_)
            | ChangeError::EndpointNotTaken => Self::field("endpoint", said),
            ChangeError::SecretOfOtherKind(why) => Self::field("secret", why),
            ChangeError::LabelRepeatsSecret => Self::field("label", said),
            ChangeError::UsageTagRepeatsSecret => Self::field("usageTag", said),
            ChangeError::SecretRepeated => Self::field("secret", said),
            ChangeError::ExpiryPast => Self::field("expiresAt", said),
            ChangeError::ErasingUnfinished(_) => Self::new(
                Kind::ErasureIncomplete,
                "The workspace is erased, and some of its data is not deleted from storage yet.",
                "The deletion continues by itself. Send the request again: once nothing is left, the response is the receipt.",
            )
            .with_header(header::RETRY_AFTER, "5")
            .caused_by(said),
            ChangeError::OutcomeUnknown(_) => Self::new(
                Kind::OutcomeUnknown,
                "The store did not confirm whether it made the change.",
                "List the resources before you retry: the change may have been made. With an Idempotency-Key, sending the same \
                 request again is safe.",
            )
            .with_header(header::RETRY_AFTER, "5")
            .caused_by(said),
            ChangeError::Raced => {
                let detail = "Concurrent changes prevented this one each time, so nothing was changed.";
                Self::new(Kind::StoreUnavailable, detail, "Try again.")
                    .with_header(header::RETRY_AFTER, "1")
            }
            ChangeError::TooMany | ChangeError::TooManyKeys => Self::field("workspaceId", said),
            ChangeError::KeyService(error) => Self::from(error),
            ChangeError::StoreUnavailable(storage) => Self::from(storage),
            _ => Self::internal(said),
        }
    }
}

/// The store is unchanged: if that is uncertain, the error is `ChangeError::OutcomeUnknown`.
impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        let (detail, remedy) = match &error {
            StorageError::Full { .. } => (
                "The disk that holds the store is nearly full, so nothing was changed.",
                "Free some space on the disk of the data folder and try again.",
            ),
            StorageError::Conflict { .. } => (
                "Another process wrote at the same time, so nothing was changed.",
                "Try again.",
            ),
            StorageError::Failed { .. } => (
                "A write to the store failed, so nothing was changed, and no change is accepted until Keyside is restarted.",
                "Check the disk of the data folder, then restart Keyside. The proxy keeps serving requests meanwhile.",
            ),
            _ => (
                "The store cannot be written, so nothing was changed.",
                "Check Keyside's log for the error of the store, then try again.",
            ),
        };
        tracing::error!(%error, "a change failed");
        Self::new(Kind::StoreUnavailable, detail, remedy).with_header(header::RETRY_AFTER, "5")
    }
}

/// The reason is for the operator only: it has addresses and paths of the key service.
impl From<KmsError> for Problem {
    fn from(error: KmsError) -> Self {
        let (detail, remedy) = match &error {
            KmsError::Unavailable { .. } => (
                "The key service cannot be used now, so nothing was changed.",
                "Check that the key service of kms.driver is running, reachable and lets Keyside sign in; Keyside's log has the \
                 reason. Then try again.",
            ),
            _ => (
                "The key service did not use its key, so nothing was changed.",
                "Keyside's log has the reason, and what to correct in the key service or in the settings kms.*. Then try again.",
            ),
        };
        tracing::error!(%error, "a change failed");
        Self::new(Kind::StoreUnavailable, detail, remedy).with_header(header::RETRY_AFTER, "5")
    }
}

/// The same code and remediation as a runner gets. The status is not the refusal's: a 401 of this
/// API is about the token.
impl From<PreviewError> for Problem {
    fn from(error: PreviewError) -> Self {
        let kind = match error.status {
            500.. => Kind::PreviewFailed,
            _ => Kind::PreviewRefused,
        };
        let remedy = "Follow `remediation`, then send the prompt again.";
        Self {
            origin: Some(Box::new(Origin::Refusal(error.clone()))),
            ..Self::new(kind, error.message, remedy)
        }
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        ChangeError::from(error).into()
    }
}

/// The kind and the remedy of a rejection whose detail is the error's own text.
#[rustfmt::skip]
fn rejection(error: &ChangeError) -> Option<(Kind, &'static str)> {
    Some(match error {
        ChangeError::WorkspaceUnknown => (Kind::WorkspaceUnknown, "Create the workspace first (POST /api/workspaces, `keyside workspace add`), or correct the id."),
        ChangeError::WorkspaceExists => (Kind::WorkspaceExists, "Use the existing workspace, or choose another id."),
        ChangeError::CredentialUnknown => (Kind::CredentialUnknown, "GET /api/integrations/credentials lists the existing ones (`keyside key list`)."),
        ChangeError::TokenUnknown => (Kind::TokenUnknown, "GET /api/tokens lists the existing ones (`keyside token list`)."),
        ChangeError::LabelTaken { .. } => (Kind::LabelTaken, "Choose another label, or revoke the credential that has this one: the labels of revoked credentials can be reused."),
        ChangeError::Declared => (Kind::DeclaredInSettings, "Change its [[credential]] table, or its secret at its source. To store keys for a workspace that only \
            the settings name, create it first (`keyside workspace add`)."),
        ChangeError::KeptInVault { .. } => (Kind::KeptInVault, "Rotate it in Vault. Keyside follows within vault.poll, or at once with POST …/refresh (`keyside key refresh`)."),
        ChangeError::NotKeptInVault => (Kind::NotKeptInVault, "There is nothing to refresh. Replace the secret with PATCH and `secret` (`keyside key rotate`)."),
        ChangeError::SecretUnread { .. } => (Kind::SecretUnavailable, "Check that Vault is reachable and permits Keyside to read the secret, then try again."),
        ChangeError::LastOwner => (Kind::LastOwner, "First create another owner token that is not limited to workspaces."),
        ChangeError::IdempotencyKeyReused => (Kind::IdempotencyKeyReused, "Send another Idempotency-Key, or repeat the original request exactly."),
        ChangeError::Revoked => (Kind::CredentialRevoked, "Store the key as a new credential. It may have the same label."),
        ChangeError::NothingInGrace => (Kind::NothingInGrace, "Rotate to the secret that you need (PATCH with `secret`, `keyside key rotate`)."),
        ChangeError::CheckFailed(_) => (Kind::SecretRefused, "Nothing was stored. Check the key in the provider's console and send it again, or store it with `check` set to `try`."),
        ChangeError::Replaced => (Kind::SecretReplaced, "Send the request again to check the secret that is in use now."),
        ChangeError::Damaged => (Kind::RecordDamaged, "Restore the data folder from a backup, or store the key again under a new label. Where the whole workspace is \
            damaged, it can also be erased and created again."),
        ChangeError::KeyLost => (Kind::RecordDamaged, "Put back the newest copy of the whole data folder, or restore a backup. Otherwise erase the workspace \
            and create it again. Nothing was changed."),
        ChangeError::InstallationDamaged(_) => (Kind::RecordDamaged, "Put back the newest copy of the whole data folder, or restore a backup. Nothing was changed."),
        ChangeError::LogDamaged(_) => (Kind::RecordDamaged, "Put back the newest copy of the whole data folder, or restore a backup. `keyside audit verify` lists what is damaged."),
        ChangeError::AnchorsDamaged { .. } => (Kind::RecordDamaged, "Put those files back from the newest copy of the data folder, or erase their workspaces; then rotate again. Nothing was changed."),
        ChangeError::KeysLost { .. } => (Kind::RecordDamaged, "Put back the newest copy of the whole data folder, or erase these workspaces; then rotate again. Nothing was changed."),
        ChangeError::ChainDamaged { .. } => (Kind::RecordDamaged, "Choose another id, restore the newest copy of the whole data folder, or restore a backup. Nothing was changed."),
        ChangeError::HeadInTheWay { .. } => (Kind::RecordDamaged, "Move that file away and send the request again, or choose another id. Nothing was changed."),
        ChangeError::MasterKeyFixed(_) => (Kind::MasterKeyNotRotatable, "Configure a new master key, set kms.previous_master_key_file to the old one, restart, and rotate again."),
        _ => return None,
    })
}

/// The field of the body that a rejection concerns.
fn at_fault(error: &ChangeError) -> Vec<FieldError> {
    let (field, detail) = match error {
        ChangeError::WorkspaceUnknown => ("workspaceId", "no such workspace"),
        ChangeError::WorkspaceExists => ("id", "taken"),
        ChangeError::LabelTaken { .. } => ("label", "taken"),
        _ => return Vec::new(),
    };
    vec![FieldError::field(field, detail)]
}

#[cfg(test)]
mod tests {
    use keyside_credentials::KeyringError;

    use super::*;

    #[test]
    fn a_failure_of_the_key_service_is_not_reported_as_one_of_the_store() {
        let reason = "https://vault.internal: sealed".to_owned();
        let failures = [
            KmsError::Unavailable {
                reason: reason.clone(),
                transient: true,
            },
            KmsError::Refused {
                wrapping_key: "transit/keyside-acme".to_owned(),
                reason,
            },
        ];
        for failure in failures {
            let problem = Problem::from(ChangeError::from(KeyringError::Kms(failure)));
            assert!(problem.detail.contains("key service"), "{}", problem.detail);
            assert!(problem.remedy.contains("kms."), "{}", problem.remedy);
            let said = format!("{} {}", problem.detail, problem.remedy);
            assert!(
                !said.contains("store") && !said.contains("vault.internal"),
                "{said}"
            );
        }
    }
}
