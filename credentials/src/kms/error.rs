//! Why a key service does not wrap or unwrap.

use std::path::PathBuf;

use keyside_store::file::FileError;

use super::FORMATS;

/// Why there is no key service, or why it did not unwrap. None repeats any of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KmsError {
    /// A driver that is not built in yet.
    #[error("kms.driver = \"{driver}\" comes with a later release: use \"local\" or \"vault\"")]
    NotInThisRelease {
        /// Its name.
        driver: &'static str,
    },
    /// The file is named and not there, or not readable.
    #[error(
        "the master key cannot be read: {0}. Make one with `keyside master-key generate > FILE` and name it in \
         KMS_MASTER_KEY_FILE"
    )]
    File(#[source] FileError),
    /// What was found is no key.
    #[error(
        "{origin} does not hold a master key: expected 32 bytes, raw or in base64, as `keyside master-key generate` prints them"
    )]
    NotAKey {
        /// The file, or the variable.
        origin: String,
    },
    /// The variable that was named is gone.
    #[error("KMS_MASTER_KEY is not set, or is not text")]
    VariableMissing,
    /// The generated master key is gone while there are keys that only it opens.
    #[error(
        "the master key {} is gone, and the keyring {} can be opened with no other: restore that file, or name the \
         right one in KMS_MASTER_KEY_FILE",
        master_key.display(),
        keyring.display()
    )]
    GeneratedGone {
        /// Where it was.
        master_key: PathBuf,
        /// What it wrapped.
        keyring: PathBuf,
    },
    /// The keyring was wrapped with another one.
    #[error(
        "wrong master key: the keyring was wrapped with {expected}, the one given is {given}. Give the right one in \
         KMS_MASTER_KEY_FILE or KMS_MASTER_KEY; one that was retired is kept as <its file>.retired-<its id>"
    )]
    WrongMasterKey {
        /// Its id, from the wrapped key.
        expected: String,
        /// The id of the one at hand.
        given: String,
    },
    /// The master key stands in a variable, which only people can change.
    #[error(
        "the master key is not in a file, so it cannot be replaced from here: keep the old one in a file, name that in \
         kms.previous_master_key_file, give the new one as KMS_MASTER_KEY, restart, and rotate again"
    )]
    NotAFile,
    /// The master key's file, or its folder, cannot be written.
    #[error(
        "the master key's file cannot be replaced from here ({0}). Put a new key where kms.master_key_file says, name a \
         file with the old one in kms.previous_master_key_file, restart, and rotate again"
    )]
    NotReplaceable(#[source] FileError),
    /// There is nothing at the place where a restore looks for the key.
    #[error(
        "there is no master key at {}: put the one there that the backup was made with", path.display()
    )]
    NotThere {
        /// Where it should be.
        path: PathBuf,
    },
    /// Another driver has wrapped it.
    #[error(
        "the key {key} was wrapped by the KMS driver \"{driver}\": set kms.driver to that one, with the settings it had"
    )]
    OtherDriver {
        /// The wrapped key's id.
        key: String,
        /// Its driver's name in the settings.
        driver: &'static str,
    },
    /// Another key of the service has wrapped it, or it was moved from another workspace.
    #[error(
        "the key {key} was wrapped with {expected}, and {given} is the one to unwrap it with: set the KMS driver's settings \
         to what they were, or restore the keyring from a backup"
    )]
    OtherWrappingKey {
        /// The wrapped key's id.
        key: String,
        /// The id of the key that has wrapped it.
        expected: String,
        /// The id of the key that the settings lead to.
        given: String,
    },
    /// The service answers, and refuses.
    #[error("the key service does not use its key {wrapping_key}: {reason}")]
    Refused {
        /// The id of the key in the service.
        wrapping_key: String,
        /// Why, and what to do; never anything of a key.
        reason: String,
    },
    /// The service does not answer, or does not let Keyside sign in: trying again may help.
    #[error(
        "the key service cannot be used now ({reason}). Keys that are in use stay in use; a start, a new workspace, erasing one \
         and a backup need it"
    )]
    Unavailable {
        /// What was found instead of an answer, and what to do.
        reason: String,
        /// Whether waiting may mend it, with nobody changing anything.
        transient: bool,
    },
    /// This process only reads.
    #[error(
        "this process may not create keys in the key service: create workspaces with the Keyside that administers them"
    )]
    CannotMakeNew,
    /// A wrapped key was edited or moved.
    #[error("the wrapped key {key} failed authentication: restore the keyring from a backup")]
    NotAuthentic {
        /// The key's id.
        key: String,
    },
}

impl KmsError {
    /// Whether it is the key's own fault, so that other keys may unwrap all the same.
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

    /// Why the driver `own` cannot read what is said to be the wrapped key of this id.
    pub fn unreadable(own: &str, key: &str, wrapped: &[u8]) -> Self {
        let first = wrapped.first();
        let other = FORMATS
            .into_iter()
            .find(|(format, driver)| first == Some(format) && *driver != own);
        let key = key.to_owned();
        match other {
            Some((_, driver)) => Self::OtherDriver { key, driver },
            None => Self::NotAuthentic { key },
        }
    }
}
