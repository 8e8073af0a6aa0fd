//! The folder with sled's files: who may open it, whether it is intact, and how the remains of a
//! crash are removed.

use std::{
    env,
    fs::{self, File},
    io,
    path::Path,
};

use keyside_store::file::{self, FileError};
use sled::Db;

use super::{
    conf::{self, CONF, CONF_COPY},
    error::StoreOpenError,
    failure::{self, FAILURE_MARKER},
    lock::{DB, LOCK, lock, lock_existing},
    reserve::{RESERVE_FILE, ReserveFile},
    sync::{SyncError, sync},
};

/// The opened files of a store.
pub(super) struct OpenedFolder {
    pub(super) db: Db,
    pub(super) held: StoreLock,
}

/// Keeps the store locked while it is open. The operating system releases the lock when the process
/// ends, even if it is killed.
#[allow(dead_code, reason = "held, never read")]
pub(super) struct StoreLock(Vec<File>);

/// Opens or creates the store in a folder. If the disk is full, opens it in the disk space that the
/// reserve file releases.
pub(super) fn open(folder: &Path, reserve: &ReserveFile) -> Result<OpenedFolder, StoreOpenError> {
    file::create_folder(folder)?;
    check_file_types(folder)?;
    let lock = lock(folder)?;
    let db = loop {
        match open_files(folder) {
            Err(error) if error.is_full() && reserve.release() => {
                tracing::warn!(%error, "the disk is full: opening the store again with disk space from the reserve");
            }
            opened => break opened?,
        }
    };
    // sled fsyncs a snapshot but not the folder in which it renames it.
    file::sync_folder(folder).map_err(FileError::at(folder))?;
    let held = StoreLock(vec![lock]);
    Ok(OpenedFolder { db, held })
}

fn open_files(folder: &Path) -> Result<Db, StoreOpenError> {
    let new = prepare(folder)?;
    if !new {
        // The log of a killed process may be only in the page cache. sled reads it and writes a
        // synced snapshot: without this sync, a power cut would leave the snapshot without its log.
        let log = folder.join(DB);
        let synced = sync_db(folder).inspect_err(|error| {
            if let SyncError::Failed(_) = error {
                failure::mark(folder);
            }
        });
        synced.map_err(|error| FileError::at(&log)(error.into()))?;
        failure::drop_unwritten(folder, &log)?;
    }
    let db = open_db(folder, folder)?;
    match new {
        true => finish(folder, &db)?,
        false => check_sentinel(folder, &db)?,
    }
    Ok(db)
}

/// Whether a folder holds no store: it has no file of one, or creating the store was interrupted
/// before any write could be acknowledged.
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

/// Refuses a folder where a file is expected, and the reverse; and special files, such as named
/// pipes, which would be waited for.
fn check_file_types(folder: &Path) -> Result<(), StoreOpenError> {
    for entry in fs::read_dir(folder).map_err(FileError::at(folder))? {
        let path = entry.map_err(FileError::at(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let wants_folder = FOLDERS.contains(&&*name);
        let wants_file = is_sled_file(&name) || OTHER_FILES.contains(&&*name);
        let finding = match path.is_dir() {
            true if wants_file => format!("{name} in it is a folder, and has to be a file"),
            false if wants_file && file::check_not_special(&path).is_err() => {
                format!("{name} in it is not a regular file")
            }
            false if wants_folder => format!("{name} in it is a file, and has to be a folder"),
            _ => continue,
        };
        return Err(StoreOpenError::damaged(folder, finding));
    }
    Ok(())
}

/// Refuses files that sled could not open, by name: sled does not say which of its files failed.
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

/// Whether sled reads this file while it opens, or it is the copy of such a file.
fn is_sled_file(name: &str) -> bool {
    [DB, CONF, CONF_COPY].contains(&name)
        || name.starts_with("snap.") && !name.ends_with(".generating")
}

/// Whether only sled's own files were ever used, as far as the folder shows: a log of one segment,
/// and no object, segment or run record. The caller checks what the log contains.
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

/// Treats a missing folder as empty.
fn is_empty(folder: &Path) -> Result<bool, FileError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(FileError::at(folder)(error)),
    }
}

/// Locks a folder in which creating a store was interrupted.
pub(super) fn lock_unfinished(folder: &Path) -> Option<Vec<File>> {
    match folder.join(CREATION_MARKER).exists() {
        true => lock_existing(folder).ok(),
        false => None,
    }
}

/// Deletes a folder atomically: renames it first, so that an interrupted deletion leaves nothing
/// under its name.
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

/// Opens a copy of sled's files in a temporary folder, which is deleted when this returns: sled only
/// uses the open file from then on, and a process that is killed leaves no copy behind. Fails like
/// [`open`] if a process serves the store: a copy made during writes would be inconsistent. Errors
/// name `folder`, not the copy.
pub(super) fn open_copy(folder: &Path) -> Result<OpenedFolder, StoreOpenError> {
    if folder.is_dir() {
        check_file_types(folder)?;
    }
    let locks = lock_existing(folder)?;
    if folder.join(CREATION_MARKER).exists() || !folder.join(DB).exists() {
        return Err(StoreOpenError::no_store(folder));
    }
    let temporary = env::temp_dir();
    let copy = tempfile::tempdir().map_err(FileError::at(&temporary))?;
    for entry in fs::read_dir(folder).map_err(FileError::at(folder))? {
        let path = entry.map_err(FileError::at(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_sled_file(&name) {
            let copied = copy_contents(&path, &copy.path().join(&*name));
            copied.map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull => FileError::at(&temporary)(error),
                _ => FileError::at(&path)(error),
            })?;
        }
    }
    conf::restore(copy.path(), folder)?;
    let db = open_db(copy.path(), folder)?;
    check_sentinel(folder, &db)?;
    let held = StoreLock(locks);
    Ok(OpenedFolder { db, held })
}

/// Copies a file without its mode: sled writes to its copy of a store that may only be read.
pub(super) fn copy_contents(from: &Path, to: &Path) -> io::Result<u64> {
    io::copy(&mut file::open_regular(from)?, &mut File::create(to)?)
}

/// Opens sled's files in a folder; errors name `named` instead.
fn open_db(files: &Path, named: &Path) -> Result<Db, StoreOpenError> {
    sled::Config::new()
        .path(files)
        .cache_capacity(CACHE_BYTES)
        // `sync` flushes on demand; sled's timer would write the same data twice.
        .flush_every_ms(None)
        .open()
        .map_err(|error| StoreOpenError::sled(named, &with_store_path(files, named, error)))
}

/// Replaces the path `files` with `named` in an error: sled puts paths into its error texts.
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

/// Syncs the log file, which sled's flush does not (sled #1351).
pub(super) fn sync_db(folder: &Path) -> Result<(), SyncError> {
    sync(&folder.join(DB))
}

/// Removes the remains of a crash. Returns whether the store is new.
fn prepare(folder: &Path) -> Result<bool, StoreOpenError> {
    let making = folder.join(CREATION_MARKER);
    if making.exists() {
        remove(folder, |name| name != LOCK && name != CREATION_MARKER)?;
        return Ok(true);
    }
    if is_new(folder)? {
        file::replace(&making, b"", file::owner_only())?;
        return Ok(true);
    }
    if !folder.join(DB).exists() {
        return Err(StoreOpenError::damaged(folder, "its file db is gone"));
    }
    check_readable(folder)?;
    // sled does not open while an unfinished snapshot exists (sled #1527); its name shows that it
    // is unfinished.
    remove(folder, |name| {
        name.starts_with("snap.") && name.ends_with(".generating")
    })?;
    conf::restore(folder, folder)?;
    Ok(false)
}

/// Marks a new store as complete. The sentinel and the copy of the settings have to be on disk
/// before the marker is deleted: a crash in between must leave a store that is created again.
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
    file::sync_folder(folder).map_err(FileError::at(folder))?;
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
            "it reads as empty, although it had data",
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

/// Small, because the domain's snapshot holds everything that is read often.
const CACHE_BYTES: u64 = 2 << 20;
/// A file that exists while a store is being created.
const CREATION_MARKER: &str = "making";
/// The size of the segments of sled 0.34.7's log, in bytes.
const SEGMENT_BYTES: u64 = 512 << 10;
/// sled's folder for values above 128 KiB. Stays empty: see `MAX_TREE_VALUE`.
const BLOBS: &str = "blobs";
/// Folder of large objects.
pub(super) const LARGE: &str = "objects";
/// Folder of segments.
pub(super) const ARCHIVE: &str = "audit";
/// Folder of run records.
pub(super) const RUNS: &str = "runs";
const FOLDERS: [&str; 4] = [BLOBS, LARGE, ARCHIVE, RUNS];
const OTHER_FILES: [&str; 4] = [CREATION_MARKER, FAILURE_MARKER, LOCK, RESERVE_FILE];
/// Key in sled's default tree. If it can be read, this is the store that was created here.
const SENTINEL: &str = "keyside";
