//! The folder that sled keeps its files in: who owns it, whether it is what it was, and what a crash has left in it.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use keyside_store::file::{self, FileError};
use sled::Db;

use super::{
    conf::{self, CONF, CONF_COPY},
    error::StoreOpenError,
    lock::{DB, LOCK, lock, lock_existing},
    reserve::{RESERVE_FILE, ReserveFile},
    sync::{SyncError, sync},
};

/// The open files of a store's folder.
pub(super) struct OpenedFolder {
    pub(super) db: Db,
    pub(super) held: StoreLock,
}

/// Held while the store is open; the system lets go of the lock when the process ends, however it ends.
#[allow(dead_code, reason = "held, never read")]
pub(super) struct StoreLock {
    lock: File,
    copy: Option<tempfile::TempDir>,
}

/// Opens the store in a folder, or makes one. Where the disk is full, it takes the room that was kept aside for it.
pub(super) fn open(folder: &Path, reserve: &ReserveFile) -> Result<OpenedFolder, StoreOpenError> {
    file::create_folder(folder)?;
    check_file_types(folder)?;
    let lock = lock(folder)?;
    let db = loop {
        match open_files(folder) {
            Err(error) if error.is_full() && reserve.release() => {
                tracing::warn!(%error, "opening it again with a part of the room that was kept aside for this");
            }
            opened => break opened?,
        }
    };
    // The names of sled's files: it fsyncs a snapshot, and not the folder that it is renamed in.
    file::sync_folder(folder).map_err(FileError::at(folder))?;
    let held = StoreLock { lock, copy: None };
    Ok(OpenedFolder { db, held })
}

fn open_files(folder: &Path) -> Result<Db, StoreOpenError> {
    let new = prepare(folder)?;
    if !new {
        // What a killed process has written is read as if it were on disk, and the snapshot that sled makes of it is on disk
        // then: after a power cut it would stand alone.
        let synced = sync_db(folder).map_err(io::Error::from);
        synced.map_err(FileError::at(&folder.join(DB)))?;
    }
    let db = open_db(folder, folder)?;
    match new {
        true => finish(folder, &db)?,
        false => check_sentinel(folder, &db)?,
    }
    Ok(db)
}

/// Whether there is no store in a folder: no file of one, or making it was cut off before anything could have been
/// acknowledged.
pub(super) fn is_new(folder: &Path) -> Result<bool, FileError> {
    if folder.join(CREATION_MARKER).exists() {
        return Ok(true);
    }
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        entries => entries.map_err(FileError::at(folder))?,
    };
    for entry in entries {
        let name = entry.map_err(FileError::at(folder))?.file_name();
        let name = name.to_string_lossy();
        if is_sled_file(&name) || FOLDERS.contains(&&*name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Refuses a folder in the place of a file, and a file in the place of a folder.
fn check_file_types(folder: &Path) -> Result<(), StoreOpenError> {
    for entry in fs::read_dir(folder).map_err(FileError::at(folder))? {
        let path = entry.map_err(FileError::at(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let wants_folder = FOLDERS.contains(&&*name);
        let finding = match path.is_dir() {
            true if is_sled_file(&name) || OTHER_FILES.contains(&&*name) => {
                format!("{name} in it is a folder, and has to be a file")
            }
            false if wants_folder => format!("{name} in it is a file, and has to be a folder"),
            _ => continue,
        };
        return Err(StoreOpenError::damaged(folder, finding));
    }
    Ok(())
}

/// Refuses what sled could not open, by its name: sled does not say which of its files it was.
fn check_readable(folder: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(folder).map_err(FileError::at(folder))? {
        let path = entry.map_err(FileError::at(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_sled_file(&name) || name == BLOBS {
            let mut options = File::options();
            let opened = options.read(true).write(name == DB).open(&path);
            opened.map_err(FileError::at(&path))?;
        }
    }
    Ok(())
}

/// Whether it is a file that sled reads while it opens, or the copy of one.
fn is_sled_file(name: &str) -> bool {
    [DB, CONF, CONF_COPY].contains(&name)
        || name.starts_with("snap.") && !name.ends_with(".generating")
}

/// Whether nothing but sled's own files was ever used, as far as that shows from outside: a log of one segment, and no object,
/// segment or run record beside it. What is in the log, the caller finds out.
pub(super) fn looks_unused(folder: &Path) -> Result<bool, FileError> {
    let db = folder.join(DB);
    let log = fs::metadata(&db).map_err(FileError::at(&db))?.len();
    for name in FOLDERS {
        if !is_empty(&folder.join(name))? {
            return Ok(false);
        }
    }
    Ok(log <= SEGMENT_BYTES)
}

/// A folder that is not there is empty.
fn is_empty(folder: &Path) -> Result<bool, FileError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(FileError::at(folder)(error)),
    }
}

/// Locks a folder in which making a store was cut off.
pub(super) fn lock_unfinished(folder: &Path) -> Option<File> {
    match folder.join(CREATION_MARKER).exists() {
        true => lock_existing(folder).ok(),
        false => None,
    }
}

/// Removes a folder, all of it or nothing: what is left of a removal that was cut off has another name.
pub(super) fn remove_atomically(folder: &Path) -> Result<(), FileError> {
    let unused = file::with_suffix(folder, ".unused");
    match fs::remove_dir_all(&unused) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(FileError::at(&unused)(error));
        }
        _ => {}
    }
    file::rename(folder, &unused)?;
    fs::remove_dir_all(&unused).map_err(FileError::at(&unused))
}

/// Opens a copy of sled's files, in a folder for temporary files. Where a process serves the store, it is refused as with
/// [`open`]: what is copied while it is written is no store. Errors name `folder`, never the copy.
pub(super) fn open_copy(folder: &Path) -> Result<OpenedFolder, StoreOpenError> {
    let lock = lock_existing(folder)?;
    if folder.join(CREATION_MARKER).exists() || !folder.join(DB).exists() {
        return Err(StoreOpenError::no_store(folder));
    }
    check_file_types(folder)?;
    let temporary = std::env::temp_dir();
    let copy = tempfile::tempdir().map_err(FileError::at(&temporary))?;
    for entry in fs::read_dir(folder).map_err(FileError::at(folder))? {
        let path = entry.map_err(FileError::at(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_sled_file(&name) {
            let copied = fs::copy(&path, copy.path().join(&*name));
            copied.map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull => FileError::at(&temporary)(error),
                _ => FileError::at(&path)(error),
            })?;
        }
    }
    conf::restore(copy.path(), folder)?;
    let db = open_db(copy.path(), folder)?;
    check_sentinel(folder, &db)?;
    let copy = Some(copy);
    let held = StoreLock { lock, copy };
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
        .map_err(|error| StoreOpenError::sled(named, &with_store_path(files, named, error)))
}

/// What sled says of `files`, said of `named`: sled puts its paths into the texts of its errors.
fn with_store_path(files: &Path, named: &Path, error: sled::Error) -> sled::Error {
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

/// Clears away what a crash has left. Says whether the store is new.
fn prepare(folder: &Path) -> Result<bool, StoreOpenError> {
    let making = folder.join(CREATION_MARKER);
    if making.exists() {
        remove(folder, |name| name != LOCK && name != CREATION_MARKER)?;
        return Ok(true);
    }
    if is_new(folder)? {
        file::replace(&making, b"", owner_only())?;
        return Ok(true);
    }
    if !folder.join(DB).exists() {
        return Err(StoreOpenError::damaged(folder, "its file db is gone"));
    }
    check_readable(folder)?;
    // sled does not open while one of these stands there (sled #1527); they are unfinished by their name.
    remove(folder, |name| {
        name.starts_with("snap.") && name.ends_with(".generating")
    })?;
    conf::restore(folder, folder)?;
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
    synced.map_err(FileError::at(&folder.join(DB)))?;
    conf::write_copy(folder)?;
    let making = folder.join(CREATION_MARKER);
    fs::remove_file(&making).map_err(FileError::at(&making))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(FileError::at(folder))?;
    Ok(())
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
const CREATION_MARKER: &str = "making";
/// Of sled 0.34.7, which writes its log in them.
const SEGMENT_BYTES: u64 = 512 << 10;
/// sled's, and stays empty: see `MAX_TREE_VALUE`.
const BLOBS: &str = "blobs";
/// Large objects.
pub(super) const LARGE: &str = "objects";
/// Segments.
pub(super) const ARCHIVE: &str = "audit";
/// Run records.
pub(super) const RUNS: &str = "runs";
const FOLDERS: [&str; 4] = [BLOBS, LARGE, ARCHIVE, RUNS];
const OTHER_FILES: [&str; 3] = [CREATION_MARKER, LOCK, RESERVE_FILE];
/// In sled's default tree: whoever finds it finds the store that was made.
const SENTINEL: &str = "keyside";
