//! Secrets that are kept outside of Keyside, in a file or in Vault.

use std::{io, path::Path, time::Duration};

use async_trait::async_trait;
pub use keyside_config::{SourceReference, VaultReference};
use keyside_store::file;
use nix::errno::Errno;
use zeroize::Zeroizing;

use crate::{
    entropy,
    secret::{Secret, SecretError},
};

/// Reads secrets from Vault. Called by followers, never for a request.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// Reads a secret. `known` is the version that the caller has: checking that it is unchanged
    /// may cost less than reading.
    ///
    /// # Errors
    /// Whether the secret is known to be gone, or only unavailable.
    async fn read(
        &self,
        reference: &VaultReference,
        known: Option<&str>,
    ) -> Result<Reading, SourceError>;
}

/// The result of a read.
pub enum Reading {
    /// The caller's version is current.
    Unchanged,
    /// A secret.
    Secret {
        /// Differs whenever the secret does, and reveals nothing about it.
        version: String,
        /// The text as it is stored.
        secret: Zeroizing<Vec<u8>>,
    },
}

/// Why a secret was not read. The texts are for people: they name place and remedy, and never
/// contain a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It is missing, may not be read, or is not a valid secret: it must not be used any more.
    #[error("{0}")]
    Gone(String),
    /// The source is unavailable. A secret that was read before may be used for a while.
    #[error("{0}")]
    Unavailable(String),
}

/// The result of polling a source.
pub(crate) enum Lookup {
    /// The known version is current.
    Unchanged,
    /// The first version, or a new one.
    Changed { version: String, secret: Secret },
}

/// Reads a secret from Vault, unless its version is `known`.
///
/// # Errors
/// Also if no Vault is configured, or its value is not a valid secret.
pub(crate) async fn read_vault(
    vault: Option<&dyn SecretSource>,
    reference: &VaultReference,
    known: Option<&str>,
) -> Result<Lookup, SourceError> {
    let Some(vault) = vault else {
        let reason = "the settings have no [vault] table; say there where Vault is";
        return Err(SourceError::Gone(reason.into()));
    };
    match vault.read(reference, known).await? {
        Reading::Unchanged => Ok(Lookup::Unchanged),
        Reading::Secret { version, .. } if known == Some(version.as_str()) => Ok(Lookup::Unchanged),
        Reading::Secret { version, secret } => {
            let secret = parse(secret).map_err(|error| {
                SourceError::Gone(format!(
                    "{reference}: {error}; put the key and nothing else into it"
                ))
            })?;
            Ok(Lookup::Changed { version, secret })
        }
    }
}

/// Time until the next poll of a secret: up to a tenth less than `poll`, at random, so that polls
/// are spread out.
pub(crate) fn next_poll_delay(poll: Duration) -> Duration {
    let tenth = poll / 10;
    let part = entropy::number() % 1_000;
    poll - tenth + tenth * part as u32 / 1_000
}

/// Reads a secret from a file. Blocks.
///
/// # Errors
/// [`SourceError::Gone`], except if this process lacks file descriptors or memory, which says
/// nothing about the file. An unresponsive file system cannot be told from a missing file.
pub(crate) fn read_file(path: &Path) -> Result<Secret, SourceError> {
    let gone = |reason: String| SourceError::Gone(format!("{}: {reason}", path.display()));
    let unreadable = |error: io::Error| {
        if is_shortage(&error) {
            let path = path.display();
            return SourceError::Unavailable(format!(
                "{path}: it cannot be read: {error}; raise the limit on open files (ulimit -Hn, LimitNOFILE=), or that on memory"
            ));
        }
        gone(match error.kind() {
            io::ErrorKind::NotFound => {
                "there is no such file; mount or write it, or correct `source`".to_owned()
            }
            io::ErrorKind::PermissionDenied => {
                "permission denied; let the user that Keyside runs as read it (chmod, chown)"
                    .to_owned()
            }
            // It is something else than a file.
            _ if error.raw_os_error().is_none() => format!("{error}; name a regular file"),
            _ => format!("it cannot be read: {error}"),
        })
    };
    let text = file::read_small(path, MAX_FILE_LEN).map_err(unreadable)?;
    parse(text).map_err(|error| gone(format!("{error}; put the key and nothing else into it")))
}

/// What is probably wrong with the key in a file, with the remedy; `None` also if there is no valid
/// key. Blocks.
pub fn file_warning(path: &Path) -> Option<&'static str> {
    read_file(path).ok()?.wrapping()
}

/// Whether the process lacks the resources to open any file.
fn is_shortage(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM))
}

/// Validates a secret like one that a person entered.
pub(crate) fn parse(mut text: Zeroizing<Vec<u8>>) -> Result<Secret, SecretError> {
    Secret::from_plaintext(std::mem::take(&mut *text))
}

pub(crate) const CONCURRENT_READS: usize = 16;
/// How long responses are searched for a previous secret.
pub(crate) const GRACE: Duration = Duration::from_secs(3600);
/// A secret of at most 8,192 bytes, and a line end.
const MAX_FILE_LEN: usize = 8192 + 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn refused(path: &Path) -> String {
        match read_file(path) {
            Ok(_) => panic!("{} was read", path.display()),
            Err(SourceError::Gone(reason) | SourceError::Unavailable(reason)) => reason,
        }
    }

    #[test]
    fn an_unusable_secret_file_is_reported_with_its_path_and_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(refused(&path).contains("there is no such file"));
        assert!(refused(folder.path()).contains("it is a folder"));
        for (text, reason) in [
            ("", "empty"),
            ("short", "shorter"),
            ("two words of a key", "a space inside"),
            ("one-line-of-a-key\nanother\n", "a line break inside"),
        ] {
            fs::write(&path, text).unwrap();
            let said = refused(&path);
            assert!(said.contains(reason) && said.contains("/key"), "{said}");
        }
        fs::write(&path, "x".repeat(9_000)).unwrap();
        assert!(refused(&path).contains("longer than"));
        for text in ["sk-canary-0123456789", "sk-canary-0123456789\r\n"] {
            fs::write(&path, text).unwrap();
            assert_eq!(read_file(&path).unwrap().expose(), b"sk-canary-0123456789");
        }
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(read_file(&link).is_ok());
    }

    #[test]
    fn anything_but_a_regular_file_is_refused_without_blocking() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let link = folder.path().join("link");
        symlink(&fifo, &link).unwrap();
        for path in [fifo.as_path(), link.as_path(), Path::new("/dev/zero")] {
            let (path, (sender, receiver)) = (path.to_owned(), std::sync::mpsc::channel());
            std::thread::spawn(move || sender.send(refused(&path)));
            let said = receiver.recv_timeout(Duration::from_secs(10));
            let said = said.expect("an answer although nobody writes to it");
            assert!(said.contains("name a regular file"), "{said}");
        }
        let around = folder.path().join("around");
        symlink(&around, &around).unwrap();
        assert!(refused(&around).contains("it cannot be read"));
    }

    #[test]
    fn shortages_of_the_process_are_distinguished_from_file_errors() {
        for (code, is_short) in [
            (Errno::EMFILE, true),
            (Errno::ENFILE, true),
            (Errno::ENOMEM, true),
            (Errno::ENOENT, false),
            (Errno::EACCES, false),
            (Errno::EIO, false),
        ] {
            let error = io::Error::from_raw_os_error(code as i32);
            assert_eq!(is_shortage(&error), is_short, "{code}");
        }
    }
}
