//! Why a key service does not wrap or unwrap.

use std::path::PathBuf;

use crate::file::FileError;

/// Why there is no key service, or why it did not unwrap. None repeats any of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KmsError {
    /// A driver that is not built in yet.
    #[error("kms.driver = \"{driver}\" comes with a later release: use \"local\"")]
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
    /// A wrapped key was edited or moved.
    #[error("the wrapped key {key} failed authentication: restore the keyring from a backup")]
    NotAuthentic {
        /// The key's id.
        key: String,
    },
}
