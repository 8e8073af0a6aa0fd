//! Why a backup is not restored.

use std::path::{Path, PathBuf};

use keyside_store::{StorageError, file::FileError};

use crate::{keyring::KeyringError, kms::KmsError};

/// Why a backup was not restored, with a remedy. Existing data is unchanged, unless a file of the
/// last step could not be moved into place: then the replaced file is kept beside it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The restore would overwrite an existing store.
    #[error(
        "there is a store at {} already, and a restore does not overwrite it: stop Keyside and move its data folder aside, \
         or name another one in store.path",
        .0.display()
    )]
    StoreThere(PathBuf),
    /// The file is not a backup.
    #[error("{} is not a backup of Keyside's: name a file that `keyside backup` has written", .0.display())]
    NotABackup(PathBuf),
    /// A later release created the backup.
    #[error(
        "the backup {} has format {found}, this release knows {known}: restore it with the release that made it",
        file.display()
    )]
    Newer {
        /// The file's path.
        file: PathBuf,
        /// The file's format.
        found: u32,
        /// The format of this release.
        known: u32,
    },
    /// The file ends too early.
    #[error(
        "the backup {} is cut short: copy it again from where it was made, or take another one",
        .0.display()
    )]
    Truncated(PathBuf),
    /// The file is damaged.
    #[error(
        "the backup {} is damaged ({finding}): copy it again from where it was made, or take another one",
        file.display()
    )]
    Damaged {
        /// The file's path.
        file: PathBuf,
        /// The finding, as a phrase for people.
        finding: &'static str,
    },
    /// A restore was killed, and its temporary folders remain.
    #[error(
        "a restore was interrupted, and {} remains of it: run `keyside restore` again, or delete what ends in .restoring \
         beside it to start without the backup{}",
        left.display(),
        kept_keyring(kept.as_deref())
    )]
    Interrupted {
        /// The folder that remains.
        left: PathBuf,
        /// The latest copy of a keyring that a restore has replaced, perhaps this one.
        kept: Option<PathBuf>,
    },
    /// The existing keyring belongs to another installation.
    #[error(
        "the backup is of installation {backup}, and what remains in {} is of {here}. If it is to take that one's place, \
         say so with --other-installation",
        folder.display()
    )]
    OtherInstallation {
        /// The data folder.
        folder: PathBuf,
        /// The backup's installation.
        backup: String,
        /// The existing installation.
        here: String,
    },
    /// No known key has signed the existing head of the installation's chain, so its age cannot be
    /// compared with the backup's.
    #[error(
        "no key of the backup, which is of installation {backup}, or of a keyring here has signed {}. That file is of the same \
         installation, from after a rotation of its keys, and then the backup is older; or of another one; or damaged. Take a \
         backup from after the rotation, or put the keyring that belongs to it back. If the backup is to replace it all the \
         same, say so with --other-installation and --older",
        head.display()
    )]
    UnknownHead {
        /// The head's file.
        head: PathBuf,
        /// The backup's installation.
        backup: String,
    },
    /// The restore would undo later changes; how this is known, as a phrase for people.
    #[error(
        "the backup is older than what was here last ({0}): take a newer one. If this older state is wanted, say so \
         with --older; keys that were revoked since, and workspaces that were erased, are then there again"
    )]
    Older(String),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The existing keyring, or the one in the backup, cannot be used.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The master key is missing, or is not the one that the backup was made with.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// The new store cannot be created.
    #[error(transparent)]
    Store(Box<dyn std::error::Error + Send + Sync>),
    /// The new store cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn kept_keyring(kept: Option<&Path>) -> String {
    kept.map_or_else(String::new, |kept| {
        format!(
            ". If it has already replaced the keyring, the one from before is {}, perhaps with the only copy of some keys: \
             to start without the backup, copy it back over the keyring first",
            kept.display()
        )
    })
}
