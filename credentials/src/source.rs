//! Secrets that are kept outside of Keyside, in a file or in Vault, and read from there.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use async_trait::async_trait;
pub use keyside_config::{SourceReference, VaultReference};
use nix::{errno::Errno, fcntl::OFlag};
use zeroize::Zeroizing;

use crate::{
    entropy,
    secret::{Secret, SecretError},
};

/// Reads secrets that are kept in Vault. Called by what follows them, never by a request.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// Reads a secret. `known` is the version that the caller has; finding that nothing changed may cost less than reading.
    ///
    /// # Errors
    /// Whether it is known not to be there, or only cannot be read now.
    async fn read(
        &self,
        reference: &VaultReference,
        known: Option<&str>,
    ) -> Result<Reading, SourceError>;
}

/// What was found where a secret is kept.
pub enum Reading {
    /// What the caller has.
    Unchanged,
    /// This.
    Secret {
        /// Another one whenever the secret is another. It tells nothing of the secret.
        version: String,
        /// The text as it stands there.
        secret: Zeroizing<Vec<u8>>,
    },
}

/// Why a secret was not read. The reasons are for people: they name place and remedy, and never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It is not there, may not be read, or is no secret: it must not be used any more.
    #[error("{0}")]
    Gone(String),
    /// Nobody can tell now. What was read before is still good for a while.
    #[error("{0}")]
    Unavailable(String),
}

/// What looking for a secret came to.
pub(crate) enum Lookup {
    /// The version that is known.
    Unchanged,
    /// Another version, or the first.
    Changed { version: String, secret: Secret },
}

/// Reads a secret from Vault, unless its version is `known`.
///
/// # Errors
/// Also where there is no Vault to ask, and where what is kept there is no secret.
pub(crate) async fn read_vault(
    vault: Option<&dyn SecretSource>,
    reference: &VaultReference,
    known: Option<&str>,
) -> Result<Lookup, SourceError> {
    let Some(vault) = vault else {
        let said = "the settings have no [vault] table; say there where Vault is";
        return Err(SourceError::Gone(said.into()));
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

/// Until a secret in Vault is looked at again: up to a tenth less than `poll`, so that not all are asked for at once.
pub(crate) fn next_poll_delay(poll: Duration) -> Duration {
    let tenth = poll / 10;
    let part = entropy::number() % 1_000;
    poll - tenth + tenth * part as u32 / 1_000
}

/// Reads a secret from a file. Blocks.
///
/// # Errors
/// [`SourceError::Gone`], except where this process has no file descriptor or no memory left, which says nothing of the file. A
/// file system that does not answer is not told from a file that is gone.
pub(crate) fn read_file(path: &Path) -> Result<Secret, SourceError> {
    let gone = |said: String| SourceError::Gone(format!("{}: {said}", path.display()));
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
            // Said by `read_small` itself, in words.
            _ if error.raw_os_error().is_none() => error.to_string(),
            _ => format!("it cannot be read: {error}"),
        })
    };
    let text = read_small(path, MAX_FILE_LEN).map_err(unreadable)?;
    parse(text).map_err(|error| gone(format!("{error}; put the key and nothing else into it")))
}

/// The first `longest` bytes of a regular file, and one more where there are more. Blocks, but never for a writer, as opening a
/// FIFO would.
///
/// # Errors
/// Also for a folder and for what is no regular file.
pub fn read_small(path: &Path, longest: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // Opening a FIFO would wait for its other end, perhaps for ever, and a terminal could become this process's own.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::Error::other("it is a folder; name the file in it"));
    }
    if !kind.is_file() {
        let said = "it is no file that can be read again; name a regular file";
        return Err(io::Error::other(said));
    }
    // Of its full length at once: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(longest + 1));
    file.take(longest as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// Whether the process lacks what it takes to open any file at all.
fn is_shortage(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM))
}

/// Checks a secret's form, as of one that a person gives.
pub(crate) fn parse(mut text: Zeroizing<Vec<u8>>) -> Result<Secret, SecretError> {
    Secret::from_plaintext(std::mem::take(&mut *text))
}

/// Secrets that are read at a time.
pub(crate) const CONCURRENT_READS: usize = 16;
/// How long answers are searched for the secret before.
pub(crate) const GRACE: Duration = Duration::from_secs(3600);
/// A secret's 8,192 bytes at most, and the line end that may follow.
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
    fn a_file_holds_a_secret_or_the_reason_names_it_and_the_remedy() {
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
    fn what_is_no_regular_file_is_refused_without_waiting_for_it() {
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
    fn a_shortage_of_this_process_says_nothing_of_the_file() {
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
