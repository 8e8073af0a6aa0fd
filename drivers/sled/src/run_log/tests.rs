use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::Floors;

fn opened(folder: &TempDir) -> SegmentedLog {
    with_reserve(folder, 0)
}

fn with_reserve(folder: &TempDir, reserve: u64) -> SegmentedLog {
    let disk_space = DiskSpace {
        folder: folder.path().to_owned(),
        floors: Floors::above(reserve),
    };
    SegmentedLog::open(&folder.path().join("runs"), disk_space).unwrap()
}

/// Three of these fill a file.
fn large(position: u64) -> Vec<u8> {
    let mut entry = vec![position as u8; 400 << 10];
    entry[..8].copy_from_slice(&position.to_be_bytes());
    entry
}

fn filled(folder: &TempDir, positions: impl IntoIterator<Item = u64>) -> SegmentedLog {
    let log = opened(folder);
    for position in positions {
        log.append(position, &large(position)).unwrap();
    }
    log
}

fn positions(log: &SegmentedLog) -> Vec<u64> {
    let entries = log.entries(0, usize::MAX).unwrap();
    for (position, entry) in &entries {
        assert_eq!(entry, &large(*position));
    }
    entries.into_iter().map(|(position, _)| position).collect()
}

fn files(folder: &TempDir) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.path().join("runs")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// Damages a file, as a crash or a disk might.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut contents = fs::read(path).unwrap();
    change(&mut contents);
    fs::write(path, contents).unwrap();
}

#[test]
fn entries_come_back_from_any_file_also_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(&folder, 1..=10));
    assert_eq!(files(&folder).len(), 4);
    let log = opened(&folder);
    assert_eq!(log.last(), 10);
    assert_eq!(positions(&log), (1..=10).collect::<Vec<_>>());
    for from in [3, 4, 10, 1] {
        assert_eq!(log.entries(from, 1).unwrap(), [(from, large(from))]);
    }
    assert_eq!(log.entries(5, 3).unwrap().len(), 3);
    assert!(log.entries(11, 1).unwrap().is_empty());
    log.append(11, b"more").unwrap();
    assert_eq!(log.entries(11, 9).unwrap(), [(11, b"more".to_vec())]);
}

#[test]
fn a_torn_entry_is_cut_off_and_the_next_one_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let log = opened(&folder);
    for position in 1..=3 {
        log.append(position, b"an entry").unwrap();
    }
    drop(log);
    let file = &files(&folder)[0];
    let whole = fs::read(file).unwrap();
    let len = whole.len() / 3;
    for cut in 2 * len..3 * len {
        for tail in [&[][..], &[0; 64], &whole[..len / 2]] {
            fs::write(file, [&whole[..cut], tail].concat()).unwrap();
            let log = opened(&folder);
            assert_eq!(log.last(), 2, "{cut}");
            log.append(3, b"another").unwrap();
            drop(log);
            let log = opened(&folder);
            assert_eq!(log.entries(2, 9).unwrap()[1], (3, b"another".to_vec()));
            assert_eq!(log.entries(1, 9).unwrap().len(), 3);
        }
    }
}

#[test]
fn damage_loses_only_the_damaged_entries() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(&folder, 1..=5));
    let (first, last) = (&files(&folder)[0], &files(&folder)[1]);
    let entry = fs::metadata(first).unwrap().len() as usize / 3;
    // The length of the second entry, and a byte inside the fourth.
    change(first, |bytes| bytes[entry + 10] ^= 1);
    change(last, |bytes| bytes[1_000] ^= 1);
    let log = opened(&folder);
    assert_eq!(positions(&log), [1, 3, 5]);
    assert_eq!(log.entries(2, 1).unwrap()[0].0, 3);
    log.append(6, &large(6)).unwrap();
    assert_eq!(positions(&log), [1, 3, 5, 6]);
}

#[test]
fn a_position_that_no_log_reaches_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(&folder, 1..=2));
    let file = &files(&folder)[0];
    let intact = fs::read(file).unwrap();
    let planted = folder.path().join("planted");
    for position in [u64::MAX, u64::MAX - 1] {
        let mut segment = Segment::write(&planted, 1, &[]).unwrap();
        segment.append(position, b"an entry").unwrap();
        let entry = fs::read(&planted).unwrap();
        fs::write(file, [&intact[..], &entry].concat()).unwrap();
        assert_eq!(positions(&opened(&folder)), [1, 2]);
    }
    let last = file.with_file_name(format!("{}.log", u64::MAX));
    fs::write(last, "").unwrap();
    assert_eq!(opened(&folder).last(), 2);
}

#[test]
fn an_empty_file_still_gives_the_next_position() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(&folder, 1..=4));
    change(&files(&folder)[1], Vec::clear);
    let log = opened(&folder);
    assert_eq!((log.last(), positions(&log)), (3, vec![1, 2, 3]));
    log.append(4, &large(4)).unwrap();
    drop(log);
    fs::remove_file(&files(&folder)[0]).unwrap();
    assert_eq!(positions(&opened(&folder)), [4]);
}

#[test]
fn whole_files_are_deleted_but_never_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(&folder, 1..=8);
    for (before, left) in [(3, 1), (4, 4), (6, 4), (100, 7)] {
        log.forget(before).unwrap();
        assert_eq!(positions(&log), (left..=8).collect::<Vec<_>>(), "{before}");
    }
    assert_eq!(files(&folder).len(), 1);
    drop(log);
    let log = opened(&folder);
    log.append(9, &large(9)).unwrap();
    assert_eq!(positions(&log), [7, 8, 9]);
}

#[test]
fn an_edit_leaves_no_old_or_damaged_data_in_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(&folder, 1..=5);
    change(&files(&folder)[0], |bytes| bytes[10] ^= 1);
    let edit = |position, _: &[u8]| (position % 2 == 0).then(|| b"short".to_vec());
    log.edit(Box::new(edit)).unwrap();
    let sizes = files(&folder)
        .iter()
        .map(|file| file.metadata().unwrap().len() >> 10)
        .collect::<Vec<_>>();
    // The third entry is left in the first file, and the fifth in the second.
    assert_eq!(sizes, [400, 400]);
    log.append(6, &large(6)).unwrap();
    for log in [log, opened(&folder)] {
        let entries = log.entries(0, 9).unwrap();
        let short = |position| (position, b"short".to_vec());
        let expected = [
            short(2),
            (3, large(3)),
            short(4),
            (5, large(5)),
            (6, large(6)),
        ];
        assert_eq!(entries, expected);
    }
}

#[test]
fn an_interrupted_edit_leaves_the_old_file_and_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(&folder, 1..=2));
    let unfinished = files(&folder)[0].with_extension(TEMPORARY_SUFFIX);
    fs::write(&unfinished, "half").unwrap();
    assert_eq!(positions(&opened(&folder)), [1, 2]);
    assert_eq!(files(&folder).len(), 1);
}

#[test]
fn files_that_do_not_belong_to_the_log_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(&folder, 1..=2));
    for name in ["0.log", "5.log", "notes", "notes.new"] {
        fs::write(folder.path().join("runs").join(name), "noise").unwrap();
    }
    assert_eq!(positions(&opened(&folder)), [1, 2]);
    assert_eq!(files(&folder).len(), 5);
}

#[test]
fn a_full_disk_refuses_writes_and_allows_reads() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(&folder, 1..=4));
    let log = with_reserve(&folder, u64::MAX);
    let full = log.append(5, &large(5)).unwrap_err();
    assert!(matches!(full, StorageError::Full { .. }), "{full}");
    assert_eq!(positions(&log), [1, 2, 3, 4]);
    log.forget(4).unwrap();
    drop(log);
    opened(&folder).append(5, &large(5)).unwrap();
}

#[test]
fn only_the_owner_can_read_folder_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(&folder, 1..=4);
    log.edit(Box::new(|_, _: &[u8]| Some(Vec::new()))).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("runs")), 0o700);
    assert!(files(&folder).iter().all(|file| mode(file) == 0o600));
}

/// As if the caller of the first sync had stopped waiting.
#[test]
fn a_failed_sync_fails_again_until_somebody_has_received_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(&folder, [1]);
    // It cannot be synced.
    let device = Segment::write(Path::new("/dev/null"), 1, &[]).unwrap();
    let file = log.files.lock().current.replace(device);
    log.sync().unwrap_err();
    log.files.lock().current = file;
    log.sync().unwrap_err();
    log.note_reported();
    log.sync().unwrap();
}

/// The caller of the append receives the error, and not those whose entries are in the full file.
#[test]
fn a_failed_sync_of_a_full_file_fails_the_next_sync() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(&folder, 1..=3);
    let mut device = Segment::write(Path::new("/dev/null"), 1, &[]).unwrap();
    for position in 1..=3 {
        device.append(position, &large(position)).unwrap();
    }
    let file = log.files.lock().current.replace(device);
    log.append(4, &large(4)).unwrap_err();
    log.files.lock().current = file;
    log.sync().unwrap_err();
    log.note_reported();
    log.append(4, &large(4)).unwrap();
    log.sync().unwrap();
    assert_eq!(positions(&log), [1, 2, 3, 4]);
}
