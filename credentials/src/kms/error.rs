//! Why a key service did not wrap or unwrap.

use std::path::PathBuf;

use keyside_store::file::FileError;

use super::FORMATS;

/// Why a key service cannot be used or did not unwrap. Never contains key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KmsError {
    /// The driver is not implemented yet.
    #[error("kms.driver = \"{0}\" comes with a later release: use \"local\" or \"vault\"")]
    NotInThisRelease(&'static str),
    /// The file is missing or not readable.
    #[error(
        "the master key cannot be read: {0}. Make one with `keyside master-key generate > FILE` and name it in \
         KMS_MASTER_KEY_FILE"
    )]
    File(#[source] FileError),
    /// The file or variable of this name does not hold a master key.
    #[error(
        "{0} does not hold a master key: expected 32 bytes, raw or in base64, as `keyside master-key generate` prints them"
    )]
    NotAKey(String),
    /// The variable is not set.
    #[error("KMS_MASTER_KEY is not set, or is not text")]
    VariableMissing,
    /// The generated master key is missing, and existing keys need it.
    #[error(
        "the master key {} is gone, and the keyring {} can be opened with no other: restore that file, or name the \
         right one in KMS_MASTER_KEY_FILE",
        master_key.display(),
        keyring.display()
    )]
    GeneratedGone {
        /// The expected path.
        master_key: PathBuf,
        /// The keyring that it wrapped.
        keyring: PathBuf,
    },
    /// The keyring was wrapped with another master key.
    #[error(
        "wrong master key: the keyring was wrapped with {expected}, the one given is {given}. Give the right one in \
         KMS_MASTER_KEY_FILE or KMS_MASTER_KEY; one that was retired is kept as <its file>.retired-<its id>"
    )]
    WrongMasterKey {
        /// The id of the master key that wrapped it.
        expected: String,
        /// The id of the given master key.
        given: String,
    },
    /// The master key is in a variable, which Keyside cannot change.
    #[error(
        "the master key is not in a file, so it cannot be replaced from here: keep the old one in a file, name that in \
         kms.previous_master_key_file, give the new one as KMS_MASTER_KEY, restart, and rotate again"
    )]
    NotAFile,
    /// The master key's file or folder cannot be written.
    #[error(
        "the master key's file cannot be replaced from here ({0}). Put a new key where kms.master_key_file says, name a \
         file with the old one in kms.previous_master_key_file, restart, and rotate again"
    )]
    NotReplaceable(#[source] FileError),
    /// The file of the next master key is gone, and nothing was wrapped with it yet.
    #[error(
        "the new master key is gone from {}, where it is kept until everything is wrapped with it; nothing was wrapped with \
         it. Rotate again", .0.display()
    )]
    NextGone(PathBuf),
    /// A restore needs the existing master key, and it is missing.
    #[error(
        "there is no master key at {}: put the one there that the backup was made with", .0.display()
    )]
    NotThere(PathBuf),
    /// Another driver wrapped the key.
    #[error(
        "the key {key} was wrapped by the KMS driver \"{driver}\": set kms.driver to that one, with the settings it had"
    )]
    OtherDriver {
        /// The wrapped key's id.
        key: String,
        /// The driver's name in the settings.
        driver: &'static str,
    },
    /// Another key of the service wrapped it, or it was moved from another workspace.
    #[error(
        "the key {key} was wrapped with {expected}, and {given} is the one to unwrap it with: set the KMS driver's settings \
         to what they were, or restore the keyring from a backup"
    )]
    OtherWrappingKey {
        /// The wrapped key's id.
        key: String,
        /// The id of the key that wrapped it.
        expected: String,
        /// The id of the key that the settings select.
        given: String,
    },
    /// The service refused.
    #[error("the key service does not use its key {wrapping_key}: {reason}")]
    Refused {
        /// The key's id in the service.
        wrapping_key: String,
        /// Why, and what to do. Never contains key material.
        reason: String,
    },
    /// The service did not answer, or did not let Keyside sign in: a retry may help.
    #[error(
        "the key service cannot be used now ({reason}). Keys that are in use stay in use; a start, a new workspace, erasing one \
         and a backup need it"
    )]
    Unavailable {
        /// What happened, and what to do.
        reason: String,
        /// Whether the fault may pass without anyone's action.
        transient: bool,
    },
    /// This process is read-only.
    #[error(
        "this process may not create keys in the key service: create workspaces with the Keyside that administers them"
    )]
    CannotMakeNew,
    /// A wrapped key was edited or moved.
    #[error("the wrapped key {0} failed authentication: restore the keyring from a backup")]
    NotAuthentic(String),
}

impl KmsError {
    /// Whether the error concerns one key only, so that others may still unwrap.
    pub fn is_about_one_key(&self) -> bool {
        matches!(
            self,
            Self::NotAuthentic { .. }
                | Self::WrongMasterKey { .. }
                | Self::OtherDriver { .. }
                | Self::OtherWrappingKey { .. }
                | Self::Refused { .. }
        )
    }

    /// Why the driver `own` cannot parse the wrapped key with this id.
    pub fn unreadable(own: &str, key: &str, wrapped: &[u8]) -> Self {
        let first = wrapped.first();
        let other = FORMATS
            .into_iter()
            .find(|(format, driver)| first == Some(format) && *driver != own);
        let key = key.to_owned();
        match other {
            Some((_, driver)) => Self::OtherDriver { key, driver },
            None => Self::NotAuthentic(key),
        }
    }
}
