//! Reads a file that contains one secret, such as a token. Strips the line break at its end, and
//! refuses an empty file.

use std::path::{Path, PathBuf};

use keyside_credentials::read_small;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use crate::error::VaultError;

/// Reads the file that `setting` names.
///
/// # Errors
/// [`VaultError::SignIn`], because the secret is for signing in: the file cannot be read, is empty,
/// or is not text.
pub(crate) async fn read(setting: &str, path: &Path) -> Result<Zeroizing<String>, VaultError> {
    let wrong = |why: String| VaultError::SignIn(format!("{setting}: {}: {why}", path.display()));
    let bytes = bytes(path.to_owned()).await.map_err(wrong)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is not text".to_owned()))?;
    match text.trim() {
        "" => Err(wrong("it is empty".to_owned())),
        secret => Ok(Zeroizing::new(secret.to_owned())),
    }
}

/// Reads the whole file, or explains why it cannot.
async fn bytes(path: PathBuf) -> Result<Zeroizing<Vec<u8>>, String> {
    let read = spawn_blocking(move || read_small(&path, MAX_LEN)).await;
    let read = read.map_err(|_| "the process is stopping".to_owned())?;
    let bytes = read.map_err(|error| error.to_string())?;
    match bytes.len() > MAX_LEN {
        true => Err(format!(
            "it is longer than {MAX_LEN} bytes, so it is not a token"
        )),
        false => Ok(bytes),
    }
}

/// Maximum size of the file, in bytes; a service account's token has about 1,000.
const MAX_LEN: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_cannot_be_a_token_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let refused = async |path: &Path| match read("vault.token_file", path).await {
            Err(VaultError::SignIn(said)) => said,
            _ => panic!("{} was read", path.display()),
        };
        for (path, reason) in [
            (Path::new("/dev/zero"), "not a regular file"),
            (folder.path(), "it is a folder"),
            (file.as_path(), "No such file"),
        ] {
            let said = refused(path).await;
            assert!(
                said.contains(reason) && said.starts_with("vault.token_file: "),
                "{said}"
            );
        }
        for (text, reason) in [
            (&b" \n"[..], "it is empty"),
            (b"\xff", "it is not text"),
            (&[b'k'; MAX_LEN + 1], "it is longer than"),
        ] {
            std::fs::write(&file, text).unwrap();
            let said = refused(file.as_path()).await;
            assert!(said.contains(reason), "{said}");
        }
        std::fs::write(&file, "hvs.one\n").unwrap();
        let token = read("vault.token_file", &file).await.ok().unwrap();
        assert_eq!(token.as_str(), "hvs.one");
    }
}
