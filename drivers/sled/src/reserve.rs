//! Disk space that a start uses if the disk is full. sled 0.34.7 writes while it opens: it fills
//! the segment that it continues, up to 512 KiB, and replaces its snapshot
//! (`pagecache/snapshot.rs`, `advance_snapshot`).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::fcntl::OFlag;

use super::disk_space::DiskSpace;

/// A file that only occupies disk space. A link in its place is not followed: cutting and filling
/// the file would destroy what it leads to.
pub(super) struct ReserveFile {
    path: PathBuf,
    /// Whether the file is known to have its full length.
    is_full: AtomicBool,
}

impl ReserveFile {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self {
            path: folder.join(RESERVE_FILE),
            is_full: AtomicBool::new(false),
        }
    }

    /// Releases a part of the file to the disk. Returns whether there was any left.
    pub(super) fn release(&self) -> bool {
        let shorten = || -> io::Result<bool> {
            let mut options = File::options();
            let options = options.custom_flags(OFlag::O_NOFOLLOW.bits());
            let file = options.write(true).open(&self.path)?;
            let len = file.metadata()?.len();
            file.set_len(len.saturating_sub(RELEASE_STEP))?;
            Ok(len > 0)
        };
        shorten().unwrap_or(false)
    }

    /// Restores the file's full length, if the disk has that much more than any change needs.
    pub(super) fn refill(&self, disk_space: &DiskSpace) {
        if self.is_full.load(Ordering::Relaxed) {
            return;
        }
        let file = fs::symlink_metadata(&self.path);
        let is_full = file.is_ok_and(|file| file.len() == RESERVE_LEN);
        if !is_full {
            let needed = disk_space.floors.adds.saturating_add(RESERVE_LEN);
            if disk_space.available().unwrap_or(0) < needed {
                return;
            }
            if let Err(error) = self.fill() {
                tracing::warn!(file = %self.path.display(), %error, "cannot reserve disk space for a start on a full disk");
                let _ = fs::remove_file(&self.path);
                return;
            }
        }
        self.is_full.store(true, Ordering::Relaxed);
    }

    fn fill(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&self.path)?;
        // Not zeros: tools that copy the data folder turn those into holes, which occupy no disk
        // space.
        let piece = vec![b'.'; RELEASE_STEP as usize];
        for _ in 0..RESERVE_LEN / RELEASE_STEP {
            file.write_all(&piece)?;
        }
        Ok(())
    }
}

/// Name of the file in the store's folder.
pub(super) const RESERVE_FILE: &str = "spare";
/// Bytes. Enough for two or three starts, each with a segment and the snapshot of a large store.
const RESERVE_LEN: u64 = 4 << 20;
/// Bytes released at a time.
const RELEASE_STEP: u64 = 1 << 20;
