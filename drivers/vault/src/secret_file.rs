//! Reads a file that holds one secret, such as a token: without the line break at its end, and never empty.

use std::path::Path;

use zeroize::Zeroizing;

use crate::error::VaultError;

/// Reads the file that `setting` names.
///
/// # Errors
/// [`VaultError::SignIn`], because what it holds is for signing in: it cannot be read, is empty, or is no text.
pub(crate) async fn read(setting: &str, path: &Path) -> Result<Zeroizing<String>, VaultError> {
    let wrong = |why: String| VaultError::SignIn(format!("{setting}: {}: {why}", path.display()));
    let bytes = tokio::fs::read(path).await.map(Zeroizing::new);
    let bytes = bytes.map_err(|error| wrong(error.to_string()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it holds no text".to_owned()))?;
    match text.trim() {
        "" => Err(wrong("it is empty".to_owned())),
        secret => Ok(Zeroizing::new(secret.to_owned())),
    }
}
