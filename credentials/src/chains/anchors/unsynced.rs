//! The file of an anchor that is not synced yet. It has two slots, which are written in turn, so that
//! the previous head stays intact while the next one is written.
//!
//! It is not renamed into place: ext4 begins to write out a file as soon as it replaces another one
//! (Linux, `ext4_rename` in fs/ext4/namei.c), which takes as long as the rest of a change.

use std::path::{Path, PathBuf};

use keyside_store::{
    chain::Head,
    file::{self, FileError},
};

use super::{Order, order_of};

/// The path of the file beside a synced anchor.
pub(super) fn path_beside(synced: &Path) -> PathBuf {
    let mut path = synced.as_os_str().to_owned();
    path.push(UNSYNCED);
    path.into()
}

/// The heads in the file, of which either may be torn.
pub(super) fn read(path: &Path) -> Result<[Option<Vec<u8>>; 2], FileError> {
    let bytes = file::read_if_exists(path)?.unwrap_or_default();
    Ok([0, 1].map(|slot| {
        let (len, rest) = bytes.get(slot * SLOT_LEN..)?.split_first_chunk()?;
        let head = rest.get(..u16::from_le_bytes(*len).into())?;
        (!head.is_empty()).then(|| head.to_vec())
    }))
}

/// Whether a head in the file is newer than `order`.
pub(super) fn has_newer(
    path: &Path,
    order: Order,
    is_genuine: impl Fn(&[u8]) -> bool,
) -> Result<bool, FileError> {
    let orders = orders(path, order, is_genuine)?;
    Ok(orders.into_iter().max().flatten() > Some(order))
}

/// Writes a head into the slot of the older one, unless both are newer. The caller holds the lock on
/// the folder.
pub(super) fn write(
    path: &Path,
    head: &[u8],
    order: Order,
    is_genuine: impl Fn(&[u8]) -> bool,
) -> Result<(), FileError> {
    let [first, second] = orders(path, order, is_genuine)?;
    let (slot, older) = match first <= second {
        true => (0, first),
        false => (1, second),
    };
    if older > Some(order) {
        return Ok(());
    }
    let len = u16::try_from(head.len()).expect("a head is at most 4 KiB");
    let bytes = [&len.to_le_bytes(), head].concat();
    file::write_at(path, &bytes, (slot * SLOT_LEN) as u64, file::owner_only())
}

/// The orders of the two heads. One that is newer than `than` counts only if it is genuine: otherwise
/// other bytes in its place would keep every later head out. An older one is replaced in any case, so
/// a change does not wait for the check of its signature.
fn orders(
    path: &Path,
    than: Order,
    is_genuine: impl Fn(&[u8]) -> bool,
) -> Result<[Option<Order>; 2], FileError> {
    Ok(read(path)?.map(|head| {
        let head = head?;
        let order = order_of(&Head::parse_unverified(&head).ok()?);
        (order <= than || is_genuine(&head)).then_some(order)
    }))
}

/// The end of the file's name.
const UNSYNCED: &str = ".unsynced";
/// Bytes of a slot, so that each has pages of its own.
const SLOT_LEN: usize = 8 << 10;
const _: () = assert!(Head::MAX_LEN + size_of::<u16>() <= SLOT_LEN);
