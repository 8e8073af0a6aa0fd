//! One file of a log: entries one after another, each with a header of position, length and
//! checksum (64, 64 and 32 bits, big-endian). Anything else in the file is skipped.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    iter,
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use keyside_store::Edit;
use nix::fcntl::OFlag;

/// An open file, and the offsets of its entries.
pub(super) struct Segment {
    first: u64,
    file: Arc<File>,
    slots: Vec<Slot>,
}

/// Position of an entry, and the range of its bytes in the file.
struct Slot {
    position: u64,
    bytes: Range<usize>,
}

impl Segment {
    pub(super) fn open(path: &Path, first: u64) -> io::Result<Self> {
        // Falls back to reading if the file cannot be opened for writing.
        let file = not_through_a_link().read(true).write(true).open(path);
        let file = file.or_else(|_| not_through_a_link().read(true).open(path))?;
        let mut contents = Vec::new();
        (&file).read_to_end(&mut contents)?;
        Ok(Self::of(file, first, &contents))
    }

    /// Writes the file, and replaces it if it exists.
    pub(super) fn write(path: &Path, first: u64, contents: &[u8]) -> io::Result<Self> {
        let file = not_through_a_link()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all_at(contents, 0)?;
        Ok(Self::of(file, first, contents))
    }

    fn of(file: File, first: u64, contents: &[u8]) -> Self {
        Self {
            first,
            file: Arc::new(file),
            slots: slots(contents, first).collect(),
        }
    }

    /// Cuts off an entry that a crash has left half written.
    pub(super) fn cut_torn_end(&mut self) -> io::Result<()> {
        let (len, whole) = (self.file.metadata()?.len(), self.len());
        if len > whole {
            tracing::warn!(bytes = len - whole, "the last run records were cut off");
            self.file.set_len(whole)?;
        }
        Ok(())
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Position of the last entry; before the first entry, the position before it.
    pub(super) fn last(&self) -> u64 {
        let last = self.slots.last();
        last.map_or(self.first - 1, |slot| slot.position)
    }

    /// Offset of the end of the last entry.
    pub(super) fn len(&self) -> u64 {
        self.slots.last().map_or(0, |slot| slot.bytes.end) as u64
    }

    pub(super) fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    pub(super) fn append(&mut self, position: u64, entry: &[u8]) -> io::Result<()> {
        let end = self.len();
        let mut bytes = Vec::with_capacity(HEADER_LEN + entry.len());
        put(position, entry, &mut bytes);
        if let Err(error) = self.file.write_all_at(&bytes, end) {
            // Removes the half-written entry: the next append would only overwrite its beginning,
            // and `edit` could not find the rest to erase it.
            let _ = self.file.set_len(end);
            return Err(error);
        }
        let begin = end as usize + HEADER_LEN;
        self.slots.push(Slot {
            position,
            bytes: begin..begin + entry.len(),
        });
        Ok(())
    }

    /// Reads up to `limit` entries from position `from` on.
    pub(super) fn entries(&self, from: u64, limit: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let before = self.slots.partition_point(|slot| slot.position < from);
        let found = self.slots[before..].iter().take(limit);
        found.map(|slot| self.read(slot)).collect()
    }

    fn read(&self, slot: &Slot) -> io::Result<(u64, Vec<u8>)> {
        let mut entry = vec![0; slot.bytes.len()];
        self.file
            .read_exact_at(&mut entry, slot.bytes.start as u64)?;
        Ok((slot.position, entry))
    }
}

/// Options that refuse a link in the place of a file: cutting and writing the file would destroy
/// what it leads to.
fn not_through_a_link() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(OFlag::O_NOFOLLOW.bits());
    options
}

/// Passes the entries of a file to `edit` and collects the result in `new`.
pub(super) fn edit(old: &[u8], first: u64, edit: &mut Edit, new: &mut Vec<u8>) {
    new.clear();
    new.reserve(old.len());
    for Slot { position, bytes } in slots(old, first) {
        let entry = &old[bytes];
        match edit(position, entry) {
            Some(other) => put(position, &other, new),
            None => put(position, entry, new),
        }
    }
}

fn put(position: u64, entry: &[u8], into: &mut Vec<u8>) {
    into.extend(position.to_be_bytes());
    into.extend((entry.len() as u64).to_be_bytes());
    into.extend(checksum(position, entry).to_be_bytes());
    into.extend(entry);
}

/// Finds the entries of a file, whose positions increase from `first` on. After damage, searches
/// for the next entry byte by byte.
fn slots(contents: &[u8], first: u64) -> impl Iterator<Item = Slot> {
    let (mut at, mut next) = (0, first);
    iter::from_fn(move || {
        let (begin, (position, len)) =
            (at..contents.len()).find_map(|at| Some((at, entry(&contents[at..], next)?)))?;
        let bytes = begin + HEADER_LEN..begin + HEADER_LEN + len;
        (at, next) = (bytes.end, position + 1);
        Some(Slot { position, bytes })
    })
}

/// Position and length of the entry that begins here, if it is intact and its position is at least
/// `next` and one that a log can reach.
fn entry(bytes: &[u8], next: u64) -> Option<(u64, usize)> {
    let (position, rest) = bytes.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let (position, len) = (u64::from_be_bytes(*position), u64::from_be_bytes(*len));
    let entry = rest.get(..usize::try_from(len).ok()?)?;
    let whole = (next..=MAX_POSITION).contains(&position)
        && u32::from_be_bytes(*sum) == checksum(position, entry);
    whole.then_some((position, entry.len()))
}

fn checksum(position: u64, entry: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&position.to_be_bytes());
    sum.update(&(entry.len() as u64).to_be_bytes());
    sum.update(entry);
    sum.finalize()
}

const HEADER_LEN: usize = 8 + 8 + 4;
/// No log reaches this position, so a higher one is damage. Counting on from it cannot overflow.
pub(super) const MAX_POSITION: u64 = u64::MAX >> 1;
