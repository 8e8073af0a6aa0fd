//! The master keys at hand, and the files they stand in.
//!
//! A rotation makes `<file>.next-of-keyside`, and once everything is wrapped with it, keeps the old key as
//! `<file>.retired-<id>` and puts the new one in its place. The file that the settings name is there at every moment; a start finds either key.

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
    /// Wraps what is made now.
    current: Arc<MasterKey>,
    /// Made for a rotation; stands in `<file>.next-of-keyside`.
    next: Option<Arc<MasterKey>>,
    /// The one before, where the settings name it.
    previous: Option<Arc<MasterKey>>,
    /// Where the current one stands, if that is ours to replace.
    file: Option<PathBuf>,
    /// The current one may still stand in `<file>.next-of-keyside`, and another one in the file.
    misplaced: bool,
}

impl MasterKeyFiles {
    /// Only the one at hand, from nowhere: there is nothing to replace.
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
        let previous = settings.previous_master_key.as_deref();
        Ok(Self {
            next: file
                .as_deref()
                .map(unfinished_rotation)
                .transpose()
                .map_err(KmsError::File)?
                .flatten()
                .map(Arc::new),
            previous: previous.map(MasterKey::read).transpose()?.map(Arc::new),
            current: current.into(),
            file,
            misplaced: false,
        })
    }

    /// A service that wraps with the current key and unwraps with any at hand.
    pub(in crate::kms) fn service(&self) -> LocalKeys {
        self.service_of(&self.current)
    }

    /// The same, but wrapping with the key of this id.
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
            at_hand: self.at_hand().cloned().collect(),
        }
    }

    /// Whether there is a master key of this id to work with.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.get(id).is_some()
    }

    fn get(&self, id: &str) -> Option<&Arc<MasterKey>> {
        self.at_hand().find(|key| key.id() == id)
    }

    fn at_hand(&self) -> impl Iterator<Item = &Arc<MasterKey>> {
        let others = [&self.next, &self.previous].into_iter().flatten();
        std::iter::once(&self.current).chain(others)
    }

    /// Whether it is the one that was made to go over to.
    pub(crate) fn is_next(&self, id: &str) -> bool {
        self.next.as_ref().is_some_and(|next| next.id() == id)
    }

    /// Makes the next key, on disk, or finds the one that an earlier attempt has made. Until it is adopted nothing is wrapped
    /// with it unasked.
    pub(crate) fn make_next(&mut self) -> Result<&MasterKey, KmsError> {
        // Where the next one would be written, the only copy of the current one may still stand.
        self.put_in_place().map_err(KmsError::NotReplaceable)?;
        if self.next.is_none() {
            let path = self.file.as_deref().ok_or(KmsError::NotAFile)?;
            self.next = Some(make_beside(path).map_err(KmsError::NotReplaceable)?.into());
        }
        self.next.as_deref().ok_or(KmsError::NotAFile)
    }

    /// Puts the next key in the place of the current one, if `id` is its name. Repeating it does no harm.
    ///
    /// # Errors
    /// When the files cannot be moved. The next key is the current one all the same, and a start looks for it.
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

    /// Removes a next key that was never used.
    pub(crate) fn forget_next(&mut self) -> Result<(), FileError> {
        match (self.next.take(), self.file.as_deref()) {
            (Some(_), Some(path)) => {
                let path = file::with_suffix(path, NEXT);
                fs::remove_file(&path).map_err(FileError::at(&path))
            }
            _ => Ok(()),
        }
    }
}

/// What a rotation that was cut off has left. Something else of that name is not a key, and is left alone.
fn unfinished_rotation(path: &Path) -> Result<Option<MasterKey>, FileError> {
    let path = file::with_suffix(path, NEXT);
    file::forget_unfinished(&path)?;
    let text = file::read_if_there(&path)?.map(Zeroizing::new);
    Ok(text.and_then(|text| MasterKey::parse(&text, "a file that a rotation left").ok()))
}

fn make_beside(path: &Path) -> Result<MasterKey, FileError> {
    let seen = fs::symlink_metadata(path).map_err(FileError::at(path))?;
    if !seen.is_file() {
        // A link, as Kubernetes mounts a secret: replacing it here would change nothing where it comes from.
        return Err(FileError::at(path)(io::Error::other("it is a link")));
    }
    let text = MasterKey::generate();
    let new = file::with_suffix(path, NEXT);
    file::replace_secret(&new, &text, mode_of(path)?)?;
    let key = MasterKey::parse(text.as_bytes(), "a new key");
    key.map_err(|_| FileError::at(&new)(io::ErrorKind::InvalidData.into()))
}

/// Keeps the key in the file, because older copies of the data need it: under its own name, for a person may have put
/// another one there. Says whether it is to give way; it is not where it is `current`, which has been moved already.
fn retire(path: &Path, current: &MasterKey) -> Result<bool, FileError> {
    let text = Zeroizing::new(file::read(path)?);
    let no_key = |_| FileError::at(path)(io::Error::other("it holds no master key any more"));
    let there = MasterKey::parse(&text, "the key in place").map_err(no_key)?;
    if there.id() == current.id() {
        return Ok(false);
    }
    let retired = file::with_suffix(path, &format!(".retired-{}", there.id()));
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

/// A name that no person gives: what stands there is ours to use, to write over and to remove.
const NEXT: &str = ".next-of-keyside";

#[cfg(test)]
mod tests;
