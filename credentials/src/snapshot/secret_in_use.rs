//! Which secret of a credential requests use. What was found out about one says nothing about the
//! next.

use super::CredentialEntry;

/// Identifies a secret of a credential: the version's number, and the source's version if it is
/// kept elsewhere.
pub(crate) type SecretInUse = (u32, Option<String>);

impl CredentialEntry {
    /// The secret that requests use, or would use if it could be read.
    pub(crate) fn secret_in_use(&self) -> SecretInUse {
        // A version on trial is not the current one.
        let usable = self.usable.as_ref().ok();
        let number = usable.map_or(self.document.current, |usable| usable.version);
        let source = self.declared.as_ref();
        (number, source.and_then(|source| source.version.clone()))
    }
}
