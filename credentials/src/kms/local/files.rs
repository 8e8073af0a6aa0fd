//! The available master keys and their files.
//!
//! A rotation creates `<file>.next-of-keyside`. Once everything is wrapped with it, the old key is
//! kept as `<file>.retired-<id>` and the new one is renamed into its place. The file that the
//! settings name exists at every moment, and a start finds both keys.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use keyside_config::{LocalKms, MasterKeySource};
use keyside_store::file::{self, FileError};
use zeroize::Zeroizing;

use super::{LocalKeys, MasterKey};
use crate::kms::KmsError;

/// The master keys of the `local` driver, and their rotation.
pub(crate) struct MasterKeyFiles {
    /// Wraps new keys.
    current: Arc<MasterKey>,
    /// Created for a rotation, in `<file>.next-of-keyside`.
    next: Option<Arc<MasterKey>>,
    /// The previous key, if the settings name it.
    previous: Option<Arc<MasterKey>>,
    /// The current key's file, if Keyside may replace it.
    file: Option<PathBuf>,
    /// The current key may still be in `<file>.next-of-keyside`, and another one in the file.
    misplaced: bool,
}

impl MasterKeyFiles {
    /// A given master key without a file, which cannot be rotated.
    pub(in crate::kms) fn only(current: MasterKey) -> Self {
        Self {
            current: current.into(),
            next: None,
            previous: None,
            file: None,
            misplaced: false,
        }
    }

    pub(in crate::kms) fn find(settings: &LocalKms, keyring: &Path) -> Result<Self, KmsError> {
        let current = MasterKey::find(&settings.master_key, keyring)?;
        let file = match &settings.master_key {
            MasterKeySource::File(path) | MasterKeySource::Generated(path) => Some(path.clone()),
            MasterKeySource::EnvironmentVariable => None,
        };
        let next = file.as_deref().map(unfinished_rotation).transpose();
        let previous = settings.previous_master_key.as_deref();
        Ok(Self {
            next: next.map_err(KmsError::File)?.flatten().map(Arc::new),
            previous: previous.map(MasterKey::read).transpose()?.map(Arc::new),
            current: current.into(),
            file,
            misplaced: false,
        })
    }

    /// A service that wraps with the current key and unwraps with any available one.
    pub(in crate::kms) fn service(&self) -> LocalKeys {
        self.service_of(&self.current)
    }

    /// A service that wraps with the key `id` and unwraps with any available one.
    pub(in crate::kms) fn wrapping_with(&self, id: &str) -> Result<LocalKeys, KmsError> {
        let key = self.get(id).ok_or_else(|| KmsError::WrongMasterKey {
            expected: id.to_owned(),
            given: self.current.id().to_owned(),
        })?;
        Ok(self.service_of(key))
    }

    fn service_of(&self, wraps: &Arc<MasterKey>) -> LocalKeys {
        LocalKeys {
            wraps: wraps.clone(),
            available: self.available().cloned().collect(),
        }
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.get(id).is_some()
    }

    fn get(&self, id: &str) -> Option<&Arc<MasterKey>> {
        self.available().find(|key| key.id() == id)
    }

    fn available(&self) -> impl Iterator<Item = &Arc<MasterKey>> {
        let others = [&self.next, &self.previous].into_iter().flatten();
        std::iter::once(&self.current).chain(others)
    }

    pub(crate) fn is_next(&self, id: &str) -> bool {
        self.next.as_ref().is_some_and(|next| next.id() == id)
    }

    /// Creates the next key on disk, or finds the one that an earlier attempt created, here or in
    /// another process. Only the file counts: what is in memory alone is lost at a restart. Nothing is
    /// wrapped with it before [`Self::adopt`] unless requested.
    pub(crate) fn make_next(&mut self) -> Result<&MasterKey, KmsError> {
        // The only copy of the current key may still be where the next one will be written.
        self.put_in_place().map_err(KmsError::NotReplaceable)?;
        let path = self.file.as_deref().ok_or(KmsError::NotAFile)?;
        let next = match self.next_on_disk(path) {
            Ok(Some(next)) => Ok(next),
            Ok(None) => make_beside(path),
            Err(error) => Err(error),
        };
        let next = next.map_err(KmsError::NotReplaceable)?;
        Ok(&**self.next.insert(next.into()))
    }

    /// Refuses the key `id` if it is the next one and its file is gone. Then it is forgotten, so that
    /// another rotation creates one. Nothing may be wrapped with it yet.
    ///
    /// # Errors
    /// [`KmsError::NextGone`].
    pub(crate) fn expect_next_on_disk(&mut self, id: &str) -> Result<(), KmsError> {
        let Some(path) = self.file.as_deref().filter(|_| self.is_next(id)) else {
            return Ok(());
        };
        let found = self.next_on_disk(path).map_err(KmsError::NotReplaceable)?;
        if found.is_some_and(|found| found.id() == id) {
            return Ok(());
        }
        let gone = KmsError::NextGone(file::with_suffix(path, NEXT));
        self.next = None;
        Err(gone)
    }

    fn next_on_disk(&self, path: &Path) -> Result<Option<MasterKey>, FileError> {
        let found = unfinished_rotation(path)?;
        Ok(found.filter(|found| found.id() != self.current.id()))
    }

    /// Makes the next key the current one, if its id is `id`. Can be repeated.
    ///
    /// # Errors
    /// The files cannot be moved. The next key is current nevertheless, and a start will find it.
    pub(crate) fn adopt(&mut self, id: &str) -> Result<(), FileError> {
        if let Some(next) = self.next.take_if(|next| next.id() == id) {
            self.current = next;
            self.misplaced = true;
        }
        self.put_in_place()
    }

    fn put_in_place(&mut self) -> Result<(), FileError> {
        if let Some(path) = self.file.as_deref().filter(|_| self.misplaced)
            && retire(path, &self.current)?
        {
            file::rename(&file::with_suffix(path, NEXT), path)?;
        }
        self.misplaced = false;
        Ok(())
    }

    /// Removes a next key that was never used, also a half-written one.
    pub(crate) fn forget_next(&mut self) -> Result<(), FileError> {
        let next = self.next.take();
        let Some(path) = self.file.as_deref() else {
            return Ok(());
        };
        let path = file::with_suffix(path, NEXT);
        file::forget_unfinished(&path)?;
        match next {
            Some(_) => fs::remove_file(&path).map_err(FileError::at(&path)),
            None => Ok(()),
        }
    }
}

/// The next key of an interrupted rotation. Any other content of that file is ignored. Changes
/// nothing: a process that only reads calls it too.
fn unfinished_rotation(path: &Path) -> Result<Option<MasterKey>, FileError> {
    let path = file::with_suffix(path, NEXT);
    let text = file::read_if_exists(&path)?.map(Zeroizing::new);
    Ok(text.and_then(|text| MasterKey::parse(&text, "a file that a rotation left").ok()))
}

fn make_beside(path: &Path) -> Result<MasterKey, FileError> {
    let seen = fs::symlink_metadata(path).map_err(FileError::at(path))?;
    if !seen.is_file() {
        // A link, as Kubernetes mounts a secret: replacing it would not change the secret's source.
        return Err(FileError::at(path)(io::Error::other("it is a link")));
    }
    let text = MasterKey::generate();
    let new = file::with_suffix(path, NEXT);
    file::replace_secret(&new, &text, mode_of(path)?)?;
    let key = MasterKey::parse(text.as_bytes(), "a new key");
    key.map_err(|_| FileError::at(&new)(io::ErrorKind::InvalidData.into()))
}

/// Keeps the key in the file under a name with its id, because older copies of the data need it; it
/// may be one that an operator put there. Returns whether to replace it: not if it is `current`,
/// which was moved already.
fn retire(path: &Path, current: &MasterKey) -> Result<bool, FileError> {
    let text = Zeroizing::new(file::read(path)?);
    let no_key = |_| FileError::at(path)(io::Error::other("it holds no master key any more"));
    let existing = MasterKey::parse(&text, "the key in place").map_err(no_key)?;
    if existing.id() == current.id() {
        return Ok(false);
    }
    let retired = file::with_suffix(path, &format!(".retired-{}", existing.id()));
    file::replace(&retired, &text, mode_of(path)?)?;
    Ok(true)
}

fn mode_of(path: &Path) -> Result<Permissions, FileError> {
    let mode = fs::metadata(path)
        .map_err(FileError::at(path))?
        .permissions()
        .mode();
    Ok(Permissions::from_mode(mode & 0o777))
}

/// A suffix that nobody else uses: Keyside may overwrite and remove such files.
const NEXT: &str = ".next-of-keyside";

#[cfg(test)]
mod tests;
