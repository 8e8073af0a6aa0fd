//! The folder that sled keeps its files in: who owns it, whether it is what it was, and what a crash has left in it.

use std::{
    fs::{self, File, Permissions, TryLockError},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use sled::Db;

use keyside_store::file::{self, FileError};

use super::sync::{SyncError, sync};

/// The open files of a store's folder.
pub(super) struct OpenedFolder {
    pub(super) db: Db,
    pub(super) held: Held,
}

/// Held while the store is open; the system lets go of the lock when the process ends, however it ends.
#[allow(dead_code, reason = "held, never read")]
pub(super) struct Held {
    lock: File,
    copy: Option<tempfile::TempDir>,
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreOpenError {
    /// One process owns a folder.
    #[error(
        "the store {} is in use by another process: stop it, or use another folder (store.path). One process owns a \
         sled store; several share one in Vault",
        folder.display()
    )]
    Locked {
        /// The store's folder.
        folder: PathBuf,
    },
    /// The files are there, the data is not.
    #[error(
        "the store {} is damaged ({finding}): nothing was changed. Restore the whole data folder from a backup, or move \
         it aside to begin anew",
        folder.display()
    )]
    Damaged {
        /// The store's folder.
        folder: PathBuf,
        /// What was found.
        finding: String,
    },
    /// Permissions, a full disk, a missing parent.
    #[error("the store cannot be opened: {0}")]
    File(#[from] FileError),
}

impl StoreOpenError {
    pub(super) fn damaged(folder: &Path, finding: &str) -> Self {
        Self::Damaged {
            folder: folder.to_owned(),
            finding: finding.to_owned(),
        }
    }

    /// What sled says about a folder: the system's errors as what they are, the rest as damage.
    pub(super) fn sled(folder: &Path, error: &sled::Error) -> Self {
        match error {
            sled::Error::Io(error) if !is_about_contents(error.kind()) => {
                FileError::at(folder)(io::Error::new(error.kind(), error.to_string())).into()
            }
            other => Self::damaged(folder, &other.to_string()),
        }
    }
}

fn is_about_contents(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    )
}

pub(super) fn open(folder: &Path) -> Result<OpenedFolder, StoreOpenError> {
    file::make_folder(folder)?;
    let lock = lock(folder)?;
    let new = prepare(folder)?;
    if !new {
        // What a killed process has written is read as if it were on disk, and the snapshot that sled makes of it is on disk
        // then: after a power cut it would stand alone.
        let synced = sync_db(folder).map_err(io::Error::from);
        synced.map_err(FileError::at(folder))?;
    }
    let db = open_db(folder, folder)?;
    match new {
        true => finish(folder, &db)?,
        false => check_sentinel(folder, &db)?,
    }
    // The names of sled's files: it fsyncs a snapshot, and not the folder that it is renamed in.
    file::sync_folder(folder).map_err(FileError::at(folder))?;
    let held = Held { lock, copy: None };
    Ok(OpenedFolder { db, held })
}

/// Opens a copy of sled's files, in a folder for temporary files. Where a process serves the store, it is refused as with
/// [`open`]: what is copied while it is written is no store. Errors name `folder`, never the copy.
pub(super) fn open_copy(folder: &Path) -> Result<OpenedFolder, StoreOpenError> {
    let lock = lock_existing(folder)?;
    if folder.join(MAKING).exists() || !folder.join(DB).exists() {
        return Err(no_store(folder));
    }
    let kept = kept_conf(folder)?;
    let temporary = std::env::temp_dir();
    let copy = tempfile::tempdir().map_err(FileError::at(&temporary))?;
    for entry in fs::read_dir(folder).map_err(FileError::at(folder))? {
        let path = entry.map_err(FileError::at(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == DB || name.starts_with("snap.") && !name.ends_with(".generating") {
            let copied = fs::copy(&path, copy.path().join(&*name));
            copied.map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull => FileError::at(&temporary)(error),
                _ => FileError::at(&path)(error),
            })?;
        }
    }
    // A start restores it too: what `conf` holds by now does not matter.
    let written = fs::write(copy.path().join(CONF), &kept);
    written.map_err(FileError::at(&temporary))?;
    let db = open_db(copy.path(), folder)?;
    check_sentinel(folder, &db)?;
    let copy = Some(copy);
    let held = Held { lock, copy };
    Ok(OpenedFolder { db, held })
}

/// Opens the files of sled in a folder; errors name `named` instead.
fn open_db(files: &Path, named: &Path) -> Result<Db, StoreOpenError> {
    sled::Config::new()
        .path(files)
        .cache_capacity(CACHE_BYTES)
        // `sync` flushes when someone waits for it; a timer would only write the same twice.
        .flush_every_ms(None)
        .open()
        .map_err(|error| StoreOpenError::sled(named, &naming(files, named, error)))
}

/// What sled says of `files`, said of `named`: sled puts its paths into the texts of its errors.
fn naming(files: &Path, named: &Path, error: sled::Error) -> sled::Error {
    let (files, named) = (files.display().to_string(), named.display().to_string());
    match error {
        sled::Error::Io(error) => {
            let said = error.to_string().replace(&files, &named);
            sled::Error::Io(io::Error::new(error.kind(), said))
        }
        other => other,
    }
}

/// Makes the log's own file durable, which sled's flush does not.
pub(super) fn sync_db(folder: &Path) -> Result<(), SyncError> {
    sync(&folder.join(DB))
}

fn lock(folder: &Path) -> Result<File, StoreOpenError> {
    let path = folder.join(LOCK);
    let mut options = File::options();
    let options = options.create(true).truncate(false).write(true);
    take(options.open(&path), &path, folder)
}

/// The same without making anything. Where the lock file was removed, sled's own lock on its log tells whether a process has
/// the store open.
fn lock_existing(folder: &Path) -> Result<File, StoreOpenError> {
    let mut paths = [LOCK, DB].map(|name| folder.join(name)).into_iter();
    let path = paths.find(|path| path.exists());
    let path = path.ok_or_else(|| no_store(folder))?;
    take(File::open(&path), &path, folder)
}

fn no_store(folder: &Path) -> StoreOpenError {
    StoreOpenError::damaged(folder, "there is no store in it")
}

fn take(opened: io::Result<File>, path: &Path, folder: &Path) -> Result<File, StoreOpenError> {
    let file = opened.map_err(FileError::at(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreOpenError::Locked {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(FileError::at(path)(error).into()),
    }
}

/// Clears away what a crash has left. Says whether the store is new: no file of sled's, or making it was cut off before
/// anything could have been acknowledged.
fn prepare(folder: &Path) -> Result<bool, StoreOpenError> {
    let making = folder.join(MAKING);
    if making.exists() {
        remove(folder, |name| name != LOCK && name != MAKING)?;
        return Ok(true);
    }
    if !folder.join(DB).exists() {
        if folder.join(CONF_COPY).exists() {
            return Err(StoreOpenError::damaged(folder, "its file db is gone"));
        }
        file::replace(&making, b"", owner_only())?;
        return Ok(true);
    }
    // sled does not open while one of these stands there (sled #1527); they are unfinished by their name.
    remove(folder, |name| {
        name.starts_with("snap.") && name.ends_with(".generating")
    })?;
    restore_conf(folder)?;
    Ok(false)
}

/// Marks a new store as complete. The order matters: the sentinel and the copy of the settings are on disk before the
/// marker goes.
fn finish(folder: &Path, db: &Db) -> Result<(), StoreOpenError> {
    db.insert(SENTINEL, b"1".as_slice())
        .map_err(|error| StoreOpenError::sled(folder, &error))?;
    db.flush()
        .map_err(|error| StoreOpenError::sled(folder, &error))?;
    let synced = sync_db(folder).map_err(io::Error::from);
    synced.map_err(FileError::at(folder))?;
    let conf = file::read(&folder.join(CONF))?;
    file::replace(&folder.join(CONF_COPY), &conf, owner_only())?;
    let making = folder.join(MAKING);
    fs::remove_file(&making).map_err(FileError::at(&making))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(FileError::at(folder))?;
    Ok(())
}

/// With a damaged `conf` sled takes its defaults and may show, and then keep, an empty store. `conf` never changes, so a
/// copy tells, and mends it.
fn restore_conf(folder: &Path) -> Result<(), StoreOpenError> {
    let conf = folder.join(CONF);
    let kept = kept_conf(folder)?;
    if file::read_if_there(&conf)?.as_ref() != Some(&kept) {
        tracing::warn!(folder = %folder.display(), "sled's file conf was damaged and has been restored from its copy");
        file::replace(&conf, &kept, owner_only())?;
    }
    Ok(())
}

fn kept_conf(folder: &Path) -> Result<Vec<u8>, StoreOpenError> {
    let kept = file::read_if_there(&folder.join(CONF_COPY))?;
    kept.ok_or_else(|| StoreOpenError::damaged(folder, "its file conf.kept is gone"))
}

fn check_sentinel(folder: &Path, db: &Db) -> Result<(), StoreOpenError> {
    match db
        .get(SENTINEL)
        .map_err(|error| StoreOpenError::sled(folder, &error))?
    {
        Some(_) => Ok(()),
        None => Err(StoreOpenError::damaged(
            folder,
            "it reads as empty, and it was not",
        )),
    }
}

fn remove(folder: &Path, unwanted: impl Fn(&str) -> bool) -> Result<(), StoreOpenError> {
    for entry in fs::read_dir(folder).map_err(FileError::at(folder))? {
        let entry = entry.map_err(FileError::at(folder))?;
        let path = entry.path();
        if unwanted(&entry.file_name().to_string_lossy()) {
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(FileError::at(&path))?;
        }
    }
    Ok(())
}

fn owner_only() -> Permissions {
    Permissions::from_mode(0o600)
}

/// What is read often stays in the domain's snapshot, so sled needs little.
const CACHE_BYTES: u64 = 2 << 20;
/// Stands there while a store is being made.
const MAKING: &str = "making";
const LOCK: &str = "lock";
/// sled's log, which sled locks while it has it open.
const DB: &str = "db";
/// sled's own settings.
const CONF: &str = "conf";
const CONF_COPY: &str = "conf.kept";
/// In sled's default tree: whoever finds it finds the store that was made.
const SENTINEL: &str = "keyside";
