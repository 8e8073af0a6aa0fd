//! Restores a backup, offline, into a folder without a store.
//!
//! The whole file is verified before anything is written. The store is created in a temporary
//! folder and renamed last, so that an interrupted restore has restored nothing and can be
//! repeated.

use std::{
    fs, io,
    path::{Path, PathBuf},
    pin::Pin,
};

use keyside_store::{
    Backend, TrustedKeys,
    chain::{ChainName, Head},
    file::{self, FileError},
};
use zeroize::Zeroizing;

use super::{
    RestoreError,
    format::{self, Header, Reader},
    item::{self, Item},
};
use crate::{
    chains::{Anchors, HEADS},
    keyring::{Keyring, KeyringFile, SigningKeys},
    kms::{Kms, KmsError, KmsSource},
    sealing::SealingKey,
};

/// Opens a new store in a folder.
pub type OpenStore<'a> = &'a (dyn Fn(&Path) -> OpeningStore + Send + Sync);
/// A store that is being opened.
pub type OpeningStore = Pin<Box<dyn Future<Output = Result<Backend, RestoreError>> + Send>>;

/// Where to restore a backup, and which losses the operator accepts.
#[derive(Clone)]
pub struct Restore<'a> {
    /// Opens the new store. Dropping the backend closes it.
    pub open: OpenStore<'a>,
    /// The store's folder. It must be missing or empty.
    pub store: &'a Path,
    /// The keyring file. The owner token and the `heads` folder are beside it.
    pub keyring: &'a Path,
    /// The key service. Opened after the file was verified.
    pub kms: &'a KmsSource,
    /// Allow replacing another installation. Without one, this allows nothing. If it is unknown
    /// whose the existing state is, this and `older` are both needed.
    pub other_installation: bool,
    /// Allow a backup that is older than the existing state.
    pub older: bool,
}

/// The summary of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The backup's header.
    pub header: Header,
    /// How often this installation has been restored, including this time.
    pub epoch: u64,
    /// Number of chain objects: documents, and pages and commits that lead to them.
    pub documents: usize,
    /// Number of audit records.
    pub audit_records: usize,
    /// Number of blocks of run records.
    pub run_blocks: usize,
}

impl Restore<'_> {
    /// Restores `file`.
    ///
    /// # Errors
    /// Why not, and what to do. Replaced files are kept beside the new ones.
    pub async fn run(&self, file: &Path) -> Result<Restored, RestoreError> {
        if has_entries(self.store)? {
            return Err(RestoreError::StoreThere(self.store.to_owned()));
        }
        format::check(file)?;
        let (reader, header) = Reader::open(file)?;
        let existing = KeyringFile::read(self.keyring)?;
        let same = existing
            .as_ref()
            .filter(|existing| existing.installation == header.installation);
        if let Some(other) = existing.as_ref().filter(|_| same.is_none())
            && !self.other_installation
        {
            return Err(RestoreError::OtherInstallation {
                folder: self.keyring.parent().unwrap_or(Path::new(".")).to_owned(),
                backup: header.installation,
                here: other.installation.clone(),
            });
        }
        self.no_older_epoch(&header, same)?;
        let kms = Kms::open_existing(self.kms, self.keyring)?;
        let key = Keyring::unwrap_standalone_key(
            &kms,
            &header.installation,
            &header.key,
            &header.wrapped,
        );
        let key = key.await.map_err(|error| match error {
            KmsError::NotAuthentic(_) => reader.damaged("its header was edited"),
            error => error.into(),
        })?;
        let mut items = Items::new(reader, key)?;
        let keyring = items.keyring()?;
        let signing = Keyring::signing_of(&keyring, self.keyring, &kms).await?;
        let here = signed_here(&signing, same);
        let anchored = self.no_older_head(&header, &here, existing.as_ref())?;
        let before = existing.as_ref().map_or(0, |it| it.epoch);
        let restored = Restored {
            epoch: before.max(anchored).max(header.epoch) + 1,
            header,
            documents: 0,
            audit_records: 0,
            run_blocks: 0,
        };
        let trust = (&signing, here);
        self.write(items, restored, keyring, existing, trust).await
    }

    async fn write(
        &self,
        items: Items,
        mut restored: Restored,
        keyring: Vec<u8>,
        existing: Option<KeyringFile>,
        (signing, here): (&SigningKeys, TrustedKeys),
    ) -> Result<Restored, RestoreError> {
        let [aside, heads] = temporary(self.store, self.keyring);
        remove_if_there(&aside)?;
        remove_if_there(&heads)?;
        let opened = (self.open)(&aside).await;
        // Otherwise what a full disk leaves of it would be in the way of a start.
        let backend = opened.inspect_err(|_| drop(remove_if_there(&aside)))?;
        let mut import = Import {
            backend: &backend,
            signing,
            heads: &heads,
            known: (!self.older).then(|| (self.heads(), here)),
            restored: &mut restored,
        };
        let imported = import.run(items).await;
        drop(backend);
        if imported.is_err() {
            // If this fails, the next attempt removes them.
            let _ = (remove_if_there(&aside), remove_if_there(&heads));
        }
        let token = imported?;
        if let Some(existing) = &existing {
            keep_copy(self.keyring, existing.epoch)?;
        }
        Keyring::restore(&keyring, self.keyring, restored.epoch, &restored.header.id)?;
        remove_if_there(&self.heads())?;
        file::rename(&heads, &self.heads())?;
        self.put_token(token, existing.as_ref().map_or(0, |it| it.epoch))?;
        file::rename(&aside, self.store)?;
        Ok(restored)
    }

    /// Replaces the owner token's file by the backup's, or removes it if the backup has none: any
    /// other token is unknown to the restored store.
    fn put_token(&self, token: Option<Zeroizing<Vec<u8>>>, epoch: u64) -> Result<(), FileError> {
        let path = self.token_file();
        let existing = file::read_if_exists(&path)?.map(Zeroizing::new);
        if existing == token {
            return Ok(());
        }
        if existing.is_some() {
            keep_copy(&path, epoch)?;
        }
        match token {
            Some(token) => file::replace(&path, &token, file::owner_only()),
            None => fs::remove_file(&path).map_err(FileError::at(&path)),
        }
    }

    /// `same` is of the backup's installation: epochs of different ones cannot be compared.
    fn no_older_epoch(
        &self,
        header: &Header,
        same: Option<&KeyringFile>,
    ) -> Result<(), RestoreError> {
        match same.filter(|_| !self.older) {
            // A restore of the same backup that was interrupted.
            Some(existing) if existing.restored_from.as_deref() == Some(&*header.id) => Ok(()),
            Some(existing) if existing.epoch > header.epoch => {
                Err(older_epoch(header, existing.epoch))
            }
            _ => Ok(()),
        }
    }

    /// Checks the existing head of the installation's chain. Returns the head's epoch: without a
    /// keyring it is the only known one.
    fn no_older_head(
        &self,
        header: &Header,
        here: &TrustedKeys,
        existing: Option<&KeyringFile>,
    ) -> Result<u64, RestoreError> {
        let own = ChainName::installation();
        let newest = Anchors::newest(&self.heads(), &own, &header.installation, here);
        let Some(verified) = newest? else {
            return Ok(0);
        };
        let Ok(head) = verified else {
            // Without another installation's keyring, the head may be of this one, signed after a
            // rotation: then the backup is older. A killed restore of this backup has replaced the
            // other keyring.
            let is_other = existing.is_some_and(|existing| {
                existing.installation != header.installation
                    || existing.restored_from.as_deref() == Some(&*header.id)
            });
            return match self.other_installation && (is_other || self.older) {
                true => Ok(0),
                false => Err(RestoreError::UnknownHead {
                    head: Anchors::path(&self.heads(), &own),
                    backup: header.installation.clone(),
                }),
            };
        };
        if !self.older && existing.is_none() && head.epoch > header.epoch {
            return Err(older_epoch(header, head.epoch));
        }
        if !self.older && head.records > header.audit.position {
            return Err(RestoreError::Older(format!(
                "its audit log ends at {}, and the one that was here at {}",
                header.audit.position, head.records
            )));
        }
        Ok(head.epoch)
    }

    fn heads(&self) -> PathBuf {
        self.keyring.with_file_name(HEADS)
    }

    fn token_file(&self) -> PathBuf {
        self.keyring.with_file_name("admin-token")
    }
}

/// Call this before creating a missing store: after a restore that was killed, a new store would be
/// in the way of restoring again.
///
/// # Errors
/// [`RestoreError::Interrupted`].
pub fn expect_none_interrupted(store: &Path, keyring: &Path) -> Result<(), RestoreError> {
    let mut folders = temporary(store, keyring).into_iter();
    match folders.find(|folder| folder.exists()) {
        Some(left) => Err(RestoreError::Interrupted {
            left,
            kept: kept_keyring(keyring),
        }),
        None => Ok(()),
    }
}

/// The latest copy of a keyring that a restore has replaced.
fn kept_keyring(keyring: &Path) -> Option<PathBuf> {
    let name = file::with_suffix(Path::new(keyring.file_name()?), KEPT);
    let entries = fs::read_dir(keyring.parent()?).ok()?.flatten();
    let copies = entries.filter(|entry| {
        let name = name.as_os_str().as_encoded_bytes();
        entry.file_name().as_encoded_bytes().starts_with(name)
    });
    let dated = copies.filter_map(|copy| {
        let modified = copy.metadata().and_then(|file| file.modified());
        Some((modified.ok()?, copy.path()))
    });
    dated.max().map(|(_, path)| path)
}

/// The folders in which a restore writes the store and the heads.
fn temporary(store: &Path, keyring: &Path) -> [PathBuf; 2] {
    let heads = keyring.with_file_name(HEADS);
    [store, heads.as_path()].map(|folder| file::with_suffix(folder, ".restoring"))
}

/// The items of a file, opened chunk by chunk.
struct Items {
    reader: Reader,
    key: SealingKey,
    /// Read ahead, to know which chunk is the last.
    next: Option<Vec<u8>>,
    chunk: std::vec::IntoIter<Item>,
}

impl Items {
    fn new(mut reader: Reader, key: SealingKey) -> Result<Self, RestoreError> {
        Ok(Self {
            next: reader.chunk()?,
            reader,
            key,
            chunk: Vec::new().into_iter(),
        })
    }

    fn keyring(&mut self) -> Result<Vec<u8>, RestoreError> {
        match self.next()? {
            Some(Item::Keyring(json)) => Ok(json),
            _ => Err(self.reader.damaged("it does not begin with a keyring")),
        }
    }

    fn next(&mut self) -> Result<Option<Item>, RestoreError> {
        loop {
            if let Some(item) = self.chunk.next() {
                return Ok(Some(item));
            }
            let Some(sealed) = self.next.take() else {
                return Ok(None);
            };
            self.next = self.reader.chunk()?;
            let last = self.next.is_none();
            let chunk = self.reader.unseal(&self.key, &sealed, last)?;
            let items = item::read(&chunk);
            let items = items.ok_or_else(|| self.reader.damaged("a part of it cannot be read"))?;
            self.chunk = items.into_iter();
        }
    }
}

/// Writes all items into a new store, and returns the owner token.
struct Import<'a> {
    backend: &'a Backend,
    signing: &'a SigningKeys,
    /// The folder that new heads are written to.
    heads: &'a Path,
    /// The existing `heads` folder, which restored chains must not be older than, and the keys that
    /// may have signed it.
    known: Option<(PathBuf, TrustedKeys)>,
    restored: &'a mut Restored,
}

impl Import<'_> {
    async fn run(&mut self, mut items: Items) -> Result<Option<Zeroizing<Vec<u8>>>, RestoreError> {
        let mut token = None;
        while let Some(item) = items.next()? {
            match item {
                Item::Keyring(_) => return Err(items.reader.damaged("it has two keyrings")),
                Item::OwnerToken(contents) => token = Some(contents),
                Item::Object { key, bytes } => {
                    self.backend.storage.put_new(&key, &bytes).await?;
                    self.restored.documents += 1;
                }
                Item::Segment {
                    chain,
                    number,
                    bytes,
                } => {
                    self.backend.archive.put_new(&chain, number, &bytes).await?;
                }
                Item::Head { chain, bytes } => {
                    let head = self.head(&chain, &bytes).await?;
                    head.ok_or_else(|| items.reader.damaged("a head in it is not signed by it"))?;
                }
                Item::Runs(block) => {
                    self.restored.run_blocks += 1;
                    let position = self.restored.run_blocks as u64;
                    self.backend.runs.append(position, block).await?;
                }
            }
        }
        self.backend.storage.sync().await?;
        self.backend.runs.sync().await?;
        Ok(token)
    }

    /// Signs a head again in the new epoch, so that processes that have seen a later state of the
    /// chain accept this one as newer.
    async fn head(&mut self, chain: &str, bytes: &[u8]) -> Result<Option<()>, RestoreError> {
        let name = ChainName::of(chain);
        let installation = &self.restored.header.installation;
        let verified = Head::verify_under(bytes, &name, installation, &self.signing.trust());
        let (Ok((mut head, _)), Some(key)) = (verified, self.signing.current_signer()) else {
            return Ok(None);
        };
        if let Some((known, here)) = &self.known {
            no_older_chain(known, &name, &head, installation, here)?;
        }
        self.restored.audit_records += head.records as usize;
        head.epoch = self.restored.epoch;
        let signed = head.sign(&name, installation, &*key);
        let storage = &self.backend.storage;
        storage.swap(&name.head_key(), None, &signed).await?;
        Anchors::restore(self.heads, &name, &signed)?;
        Ok(Some(()))
    }
}

/// The keys that existing heads may be signed with: the signing key may have been rotated after the
/// backup or between two restores. Existing heads can only prevent restoring an older state, so
/// keys that the file does not authenticate are acceptable here.
fn signed_here(signing: &SigningKeys, same: Option<&KeyringFile>) -> TrustedKeys {
    let here = same.into_iter().flat_map(KeyringFile::public_keys);
    signing.trust().into_iter().chain(here).collect()
}

fn older_epoch(header: &Header, here: u64) -> RestoreError {
    RestoreError::Older(format!(
        "it is of epoch {}, and what remains here of epoch {here}: something was restored since",
        header.epoch
    ))
}

/// Compares each chain with its own last acknowledged head: the installation's chain links most
/// changes up to an hour late. Ignores heads of another installation.
fn no_older_chain(
    known: &Path,
    name: &ChainName,
    head: &Head,
    installation: &str,
    here: &TrustedKeys,
) -> Result<(), RestoreError> {
    match Anchors::newest(known, name, installation, here)? {
        Some(Ok(acknowledged)) if acknowledged.records > head.records => {
            Err(RestoreError::Older(format!(
                "its records of {name} end at {}, and those that were here at {}",
                head.records, acknowledged.records
            )))
        }
        _ => Ok(()),
    }
}

fn has_entries(folder: &Path) -> Result<bool, FileError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::at(folder)(error)),
    }
}

/// Copies a file that is about to be replaced, under an unused name: it may be the only keyring. A
/// copy, so that the file itself exists at every moment.
fn keep_copy(path: &Path, epoch: u64) -> Result<(), FileError> {
    let contents = Zeroizing::new(file::read(path)?);
    let first = file::with_suffix(path, &format!("{KEPT}{epoch}"));
    let next = |n: u32| file::with_suffix(&first, &format!("-{n}"));
    let mut names = std::iter::once(first.clone()).chain((2..).map(next));
    let free = names.find(|name| fs::symlink_metadata(name).is_err());
    let kept = free.expect("no folder holds so many files");
    file::replace(&kept, &contents, file::owner_only())
}

fn remove_if_there(folder: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::at(folder)(error)),
        _ => Ok(()),
    }
}

/// What the name of a kept file has after the file's own name, before the epoch.
const KEPT: &str = ".before-restore-";
