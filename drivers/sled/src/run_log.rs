//! An append-only log in files of its own, for many small entries with a short life. Each file
//! holds a range of positions, and the oldest file is deleted as a whole. Memory holds the list of
//! files, and the offsets of the entries of two files.
//!
//! A crash leaves a prefix of the log: a file is synced before the next one begins, and a torn
//! entry at the end is cut off at the next start. Other damage loses only the damaged entries. The
//! calls block.

mod segment;

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
};

use keyside_store::{
    Edit, Effect, StorageError,
    file::{self, FileError},
};
use parking_lot::Mutex;

use self::segment::{MAX_POSITION, Segment};
use crate::{
    disk_space::{DiskSpace, Floors},
    flush::Flush,
};

/// An open log. The caller makes sure that no other process has it open.
pub(super) struct SegmentedLog {
    pub(super) flush: Flush,
    disk_space: DiskSpace,
    files: Mutex<Files>,
    /// The error of a failed sync, until a caller has received it: Linux reports it to one fsync
    /// only, and the caller of that one may have stopped waiting.
    unreported: Mutex<Option<StorageError>>,
    /// Locked during a sync, so that the next one begins once a failure of this one is noted.
    syncing: Mutex<()>,
}

struct Files {
    folder: PathBuf,
    /// First position of each file, which is also its name; oldest first.
    first_positions: Vec<u64>,
    /// The last file, to which entries are appended.
    current: Option<Segment>,
    /// The earlier file that was read last.
    older: Option<Segment>,
}

impl SegmentedLog {
    /// Opens or creates the log in `folder`.
    pub(super) fn open(folder: &Path, disk_space: DiskSpace) -> Result<Self, FileError> {
        file::create_folder(folder)?;
        Ok(Self::of(Files::open(folder)?, disk_space))
    }

    /// Opens the log in `folder` for reading only; it is empty if there is no folder. Skips the
    /// remains of a crash.
    pub(super) fn open_read_only(folder: &Path) -> Result<Self, FileError> {
        let disk_space = DiskSpace {
            folder: folder.to_owned(),
            floors: Floors::USUAL,
        };
        let files = match folder.is_dir() {
            true => Files::scan(folder)?,
            false => Files::none(folder),
        };
        Ok(Self::of(files, disk_space))
    }

    fn of(files: Files, disk_space: DiskSpace) -> Self {
        Self {
            flush: Flush::default(),
            disk_space,
            files: Mutex::new(files),
            unreported: Mutex::default(),
            syncing: Mutex::default(),
        }
    }

    /// Appends an entry, whose position has to follow the last one.
    pub(super) fn append(&self, position: u64, entry: &[u8]) -> Result<(), StorageError> {
        let mut files = self.files.lock();
        if position != files.last() + 1 {
            return Err(StorageError::Conflict {
                what: "the run records".to_owned(),
            });
        }
        self.disk_space.check(Effect::Adds)?;
        if let Some(full) = files.full() {
            // If both were unsynced, a power cut could leave only the next one.
            self.sync_file(&full)?;
        }
        files
            .append(position, entry)
            .map_err(StorageError::unavailable)?;
        self.flush.wrote();
        Ok(())
    }

    pub(super) fn entries(
        &self,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        self.files
            .lock()
            .entries(from, limit)
            .map_err(StorageError::unavailable)
    }

    pub(super) fn last(&self) -> u64 {
        self.files.lock().last()
    }

    /// Rewrites each file in which `edit` changes an entry, and drops damaged entries from it. On
    /// disk when this returns. The lock is released between two files, so that others can append
    /// and read.
    pub(super) fn edit(&self, mut edit: Edit) -> Result<(), StorageError> {
        let first_positions = self.files.lock().first_positions.clone();
        // Buffers for a file's old and new contents, reused for every file.
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for first in first_positions {
            let mut files = self.files.lock();
            files
                .read(first, &mut old)
                .map_err(StorageError::unavailable)?;
            segment::edit(&old, first, &mut edit, &mut new);
            if new != old {
                // An edit only removes data, and is already recorded in the audit log.
                self.disk_space.check(Effect::Finishes)?;
                files
                    .replace(first, &new)
                    .map_err(StorageError::unavailable)?;
                self.flush.wrote();
            }
        }
        Ok(())
    }

    /// Deletes the files that end before `position`.
    pub(super) fn forget(&self, position: u64) -> Result<(), StorageError> {
        self.files
            .lock()
            .forget(position)
            .map_err(StorageError::unavailable)?;
        self.flush.wrote();
        Ok(())
    }

    /// Syncs the last file. Does not block appends. Fails again until a failure is
    /// [reported](Self::note_reported).
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        let _syncing = self.syncing.lock();
        if let Some(error) = self.unreported.lock().clone() {
            return Err(error);
        }
        let current = self.files.lock().current.as_ref().map(Segment::file);
        current.map_or(Ok(()), |file| self.sync_file(&file))
    }

    /// Syncs a file. A failure is unreported, also if the caller appends: entries before its own may be
    /// lost, too, and who has written those waits for the next sync.
    fn sync_file(&self, file: &File) -> Result<(), StorageError> {
        file.sync_data().map_err(|error| {
            let error = StorageError::unavailable(error);
            *self.unreported.lock() = Some(error.clone());
            error
        })
    }

    /// Notes that a caller has received the error of a failed sync.
    pub(super) fn note_reported(&self) {
        *self.unreported.lock() = None;
    }
}

impl Files {
    fn open(folder: &Path) -> Result<Self, FileError> {
        for path in entries(folder)? {
            let unfinished = |first| Self::named(folder, first).with_extension(TEMPORARY_SUFFIX);
            if first(&path).is_some_and(|first| path == unfinished(first)) {
                fs::remove_file(&path).map_err(FileError::at(&path))?;
            }
        }
        let mut files = Self::scan(folder)?;
        if let Some(current) = &mut files.current {
            let path = Self::named(folder, current.first());
            current.cut_torn_end().map_err(FileError::at(&path))?;
        }
        Ok(files)
    }

    /// Lists the files, without changing any.
    fn scan(folder: &Path) -> Result<Self, FileError> {
        let mut files = Self::none(folder);
        for path in entries(folder)? {
            file::check_not_special(&path)?;
            files.find(&path);
        }
        files.first_positions.sort_unstable();
        if let Some(first) = files.first_positions.last() {
            let path = files.path(*first);
            let current = Segment::open(&path, *first).map_err(FileError::at(&path))?;
            files.current = Some(current);
        }
        Ok(files)
    }

    fn none(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            first_positions: Vec::new(),
            current: None,
            older: None,
        }
    }

    /// Adds a file by the position in its name. Files with other names do not belong to the log.
    fn find(&mut self, path: &Path) {
        let named = |first: &u64| path == self.path(*first);
        self.first_positions.extend(first(path).filter(named));
    }

    fn path(&self, first: u64) -> PathBuf {
        Self::named(&self.folder, first)
    }

    fn named(folder: &Path, first: u64) -> PathBuf {
        folder.join(format!("{first:020}.{EXTENSION}"))
    }

    fn last(&self) -> u64 {
        self.current.as_ref().map_or(0, Segment::last)
    }

    /// The last file, if it takes no more entries.
    fn full(&self) -> Option<Arc<File>> {
        let current = self.current.as_ref();
        let full = current.filter(|current| current.len() >= MAX_FILE_LEN);
        full.map(Segment::file)
    }

    /// Appends an entry, to a new file if the last one is full. That one is synced by then.
    fn append(&mut self, position: u64, entry: &[u8]) -> io::Result<()> {
        let current = match &mut self.current {
            Some(current) if current.len() < MAX_FILE_LEN => current,
            _ => self.begin(position)?,
        };
        current.append(position, entry)
    }

    fn begin(&mut self, first: u64) -> io::Result<&mut Segment> {
        let segment = Segment::write(&self.path(first), first, &[])?;
        file::sync_folder(&self.folder)?;
        self.first_positions.push(first);
        Ok(self.current.insert(segment))
    }

    fn entries(&mut self, from: u64, limit: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let after = self.first_positions.partition_point(|first| *first <= from);
        let (mut place, mut found) = (after.saturating_sub(1), Vec::new());
        while place < self.first_positions.len() && found.len() < limit {
            let segment = self.segment(self.first_positions[place])?;
            found.extend(segment.entries(from, limit - found.len())?);
            place += 1;
        }
        Ok(found)
    }

    fn segment(&mut self, first: u64) -> io::Result<&Segment> {
        if let Some(current) = self.current.as_ref().filter(|it| it.first() == first) {
            return Ok(current);
        }
        let older = self.older.take().filter(|older| older.first() == first);
        let older = older.map_or_else(|| Segment::open(&self.path(first), first), Ok)?;
        Ok(self.older.insert(older))
    }

    /// Reads a file; `contents` stays empty if the file was deleted meanwhile.
    fn read(&self, first: u64, contents: &mut Vec<u8>) -> io::Result<()> {
        contents.clear();
        if self.first_positions.contains(&first) {
            file::open_regular(&self.path(first))?.read_to_end(contents)?;
        }
        Ok(())
    }

    /// Replaces a file atomically: a reader, also after a crash, sees either the old or the new
    /// contents.
    fn replace(&mut self, first: u64, contents: &[u8]) -> io::Result<()> {
        let path = self.path(first);
        let unfinished = path.with_extension(TEMPORARY_SUFFIX);
        let segment = Segment::write(&unfinished, first, contents)?;
        segment.file().sync_data()?;
        fs::rename(&unfinished, &path)?;
        match self.first_positions.last() == Some(&first) {
            true => self.current = Some(segment),
            false => self.older = Some(segment),
        }
        file::sync_folder(&self.folder)
    }

    fn forget(&mut self, position: u64) -> io::Result<()> {
        while let [oldest, next, ..] = self.first_positions[..]
            && next <= position
        {
            self.older = None;
            match fs::remove_file(self.path(oldest)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.first_positions.remove(0),
            };
        }
        Ok(())
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = fs::read_dir(folder).map_err(FileError::at(folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: io::Result<Vec<_>> = paths.collect();
    paths.map_err(FileError::at(folder))
}

/// The first position of a file, from its name.
fn first(path: &Path) -> Option<u64> {
    let stem = path.file_stem().and_then(OsStr::to_str)?;
    let first = stem.parse::<NonZeroU64>().ok()?.get();
    (first <= MAX_POSITION).then_some(first)
}

/// Bytes from which on a file takes no more entries.
const MAX_FILE_LEN: u64 = 1 << 20;
const EXTENSION: &str = "log";
/// Extension of a file that is to replace another one.
const TEMPORARY_SUFFIX: &str = "new";

#[cfg(test)]
mod tests;
