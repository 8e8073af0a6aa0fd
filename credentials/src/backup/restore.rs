//! Restoring a backup, offline, into a folder without a store.
//!
//! The file is checked from end to end before anything is written. The store is made aside and put in its place last, so
//! that a restore that was cut off has restored nothing and can be begun again.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{
    RestoreError,
    format::{self, Header, Reader},
    item::{self, Item},
};
use crate::{
    Kms, KmsSource,
    audit::{self, Head},
    file::{self, FileError},
    keyring::{Keyring, Remains},
    sealing::SealingKey,
    storage::{SledStorage, Storage},
};

/// Where a backup is to go, and what is known to be lost by it.
#[derive(Clone)]
pub struct Restore<'a> {
    /// The store's folder, where nothing is yet.
    pub store: &'a Path,
    /// The keyring's file. The owner's token and the audit log's head stand beside it.
    pub keyring: &'a Path,
    /// What wraps the keys. It is opened once the file has proved whole.
    pub kms: &'a KmsSource,
    /// It may take the place of another installation. Where there is none, this allows nothing.
    pub other_installation: bool,
    /// It may be older than what was there last.
    pub older: bool,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// What the backup says of itself.
    pub header: Header,
    /// How often this installation has been restored, this time included.
    pub epoch: u64,
    /// Documents: workspaces, credentials, tokens.
    pub documents: usize,
    /// Entries of the audit log.
    pub audit_records: usize,
    /// Blocks of run records.
    pub run_blocks: usize,
}

impl Restore<'_> {
    /// Restores `file`.
    ///
    /// # Errors
    /// Why not, and what to do. Nothing that was there is lost then: what gave way is kept beside.
    pub async fn run(&self, file: &Path) -> Result<Restored, RestoreError> {
        if is_there(self.store)? {
            return Err(RestoreError::StoreThere {
                folder: self.store.to_owned(),
            });
        }
        format::check(file)?;
        let (reader, header) = Reader::open(file)?;
        let remains = Remains::read(self.keyring)?;
        self.same_installation(&header, remains.as_ref())?;
        self.no_older_epoch(&header, remains.as_ref())?;
        let kms = Kms::open_existing(self.kms, self.keyring)?;
        let key = Keyring::unwrap_alone(&kms, &header.installation, &header.key, &header.wrapped);
        let mut items = Items::new(reader, key.await?);
        let keyring = items.keyring()?;
        let installation = Keyring::installation_of(&keyring, self.keyring, &kms).await?;
        self.no_older_head(&header, &installation)?;
        self.write(items, header, keyring, remains, &installation)
            .await
    }

    async fn write(
        &self,
        items: Items,
        header: Header,
        keyring: Vec<u8>,
        remains: Option<Remains>,
        installation: &SealingKey,
    ) -> Result<Restored, RestoreError> {
        let aside = file::with_suffix(self.store, ".restoring");
        remove_if_there(&aside)?;
        let mut restored = Restored {
            epoch: remains.as_ref().map_or(0, Remains::epoch).max(header.epoch) + 1,
            header,
            documents: 0,
            audit_records: 0,
            run_blocks: 0,
        };
        let storage = SledStorage::open(&aside).await?;
        let token = import(&storage, items, &mut restored).await?;
        drop(storage);
        if let Some(remains) = &remains {
            keep(self.keyring, remains.epoch())?;
        }
        Keyring::restore(&keyring, self.keyring, restored.epoch, &restored.header.id)?;
        audit::write_anchor(&self.anchor(), installation, restored.header.audit)?;
        self.put_token(token, remains.as_ref().map_or(0, Remains::epoch))?;
        file::rename(&aside, self.store)?;
        Ok(restored)
    }

    /// The owner's token becomes the backup's, or none where the backup has none: another one opens nothing any more.
    fn put_token(&self, token: Option<Zeroizing<Vec<u8>>>, epoch: u64) -> Result<(), FileError> {
        let path = self.token_file();
        let there = file::read_if_there(&path)?.map(Zeroizing::new);
        if there == token {
            return Ok(());
        }
        if there.is_some() {
            keep(&path, epoch)?;
        }
        match token {
            Some(token) => file::replace(&path, &token, Permissions::from_mode(0o600)),
            None => fs::remove_file(&path).map_err(FileError::at(&path)),
        }
    }

    fn same_installation(
        &self,
        header: &Header,
        remains: Option<&Remains>,
    ) -> Result<(), RestoreError> {
        match remains {
            Some(remains) if remains.installation() != header.installation => {
                self.other(header, Some(remains.installation().to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn no_older_epoch(
        &self,
        header: &Header,
        remains: Option<&Remains>,
    ) -> Result<(), RestoreError> {
        // Of another installation the epoch says nothing.
        let same = |remains: &&Remains| remains.installation() == header.installation;
        match remains.filter(same).filter(|_| !self.older) {
            // A restore of this very one that was cut off.
            Some(remains) if remains.restored_from() == Some(&*header.id) => Ok(()),
            Some(remains) if remains.epoch() > header.epoch => Err(RestoreError::Older {
                finding: format!(
                    "it is of epoch {}, and what remains here of epoch {}: something was restored since",
                    header.epoch,
                    remains.epoch()
                ),
            }),
            _ => Ok(()),
        }
    }

    /// The head that remains here speaks only to the key of its own installation.
    fn no_older_head(
        &self,
        header: &Header,
        installation: &SealingKey,
    ) -> Result<(), RestoreError> {
        let anchor = self.anchor();
        if !anchor.exists() {
            return Ok(());
        }
        match audit::read_anchor(&anchor, installation) {
            None => self.other(header, None),
            Some(Head { position, .. }) if position > header.audit.position && !self.older => {
                Err(RestoreError::Older {
                    finding: format!(
                        "its audit log ends at {}, and the one that was here at {position}",
                        header.audit.position
                    ),
                })
            }
            Some(_) => Ok(()),
        }
    }

    fn other(&self, header: &Header, here: Option<String>) -> Result<(), RestoreError> {
        match self.other_installation {
            true => Ok(()),
            false => Err(RestoreError::OtherInstallation {
                folder: self.keyring.parent().unwrap_or(Path::new(".")).to_owned(),
                backup: header.installation.clone(),
                here,
            }),
        }
    }

    fn anchor(&self) -> PathBuf {
        self.keyring.with_file_name("audit-head")
    }

    fn token_file(&self) -> PathBuf {
        self.keyring.with_file_name("admin-token")
    }
}

/// What is in a file, opened chunk by chunk.
struct Items {
    reader: Reader,
    key: SealingKey,
    /// Read ahead, to know which chunk is the last.
    next: Option<Vec<u8>>,
    begun: bool,
    chunk: std::vec::IntoIter<Item>,
}

impl Items {
    fn new(reader: Reader, key: SealingKey) -> Self {
        Self {
            reader,
            key,
            next: None,
            begun: false,
            chunk: Vec::new().into_iter(),
        }
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
            if !std::mem::replace(&mut self.begun, true) {
                self.next = self.reader.chunk()?;
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

/// Puts everything into a new store, and returns the owner's token.
async fn import(
    storage: &SledStorage,
    mut items: Items,
    restored: &mut Restored,
) -> Result<Option<Zeroizing<Vec<u8>>>, RestoreError> {
    let mut token = None;
    while let Some(item) = items.next()? {
        match item {
            Item::Keyring(_) => return Err(items.reader.damaged("it has two keyrings")),
            Item::OwnerToken(contents) => token = Some(contents),
            Item::Document {
                key,
                revision,
                body,
            } => {
                storage.import_document(key, revision, body).await?;
                restored.documents += 1;
            }
            Item::Entry {
                log,
                position,
                entry,
            } => {
                storage.import_entry(log.into(), position, entry).await?;
                match log {
                    item::LogName::Audit => restored.audit_records += 1,
                    item::LogName::Runs => restored.run_blocks += 1,
                }
            }
        }
    }
    storage.sync().await?;
    storage.sync_runs().await?;
    Ok(token)
}

/// An empty folder is nothing.
fn is_there(folder: &Path) -> Result<bool, FileError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::at(folder)(error)),
    }
}

/// Keeps a copy of what is about to be replaced, under a name that nothing has yet: of a keyring there may be no other. A
/// copy, so that the file itself is there at every moment.
fn keep(path: &Path, epoch: u64) -> Result<(), FileError> {
    let contents = Zeroizing::new(file::read(path)?);
    let first = file::with_suffix(path, &format!(".before-restore-{epoch}"));
    let next = |n: u32| file::with_suffix(&first, &format!("-{n}"));
    let mut names = std::iter::once(first.clone()).chain((2..).map(next));
    let free = names.find(|name| fs::symlink_metadata(name).is_err());
    let kept = free.expect("no folder holds so many files");
    file::replace(&kept, &contents, Permissions::from_mode(0o600))
}

fn remove_if_there(folder: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::at(folder)(error)),
        _ => Ok(()),
    }
}
