//! Damaged, missing and replaced files: restored from a copy, or reported with path and remedy.

use std::os::unix::{fs::symlink, net::UnixListener};

use super::*;

#[tokio::test]
async fn conf_and_its_copy_are_each_restored_from_the_other() {
    let damages: [Option<&[u8]>; 5] = [
        None,
        Some(b""),
        Some(b"short"),
        Some(&[0xff; 200]),
        Some(&[0; 62]),
    ];
    for file in ["conf", "conf.kept"] {
        for damage in damages {
            let folder = tempfile::tempdir().unwrap();
            used(folder.path()).await;
            let path = folder.path().join(file);
            let whole = fs::read(&path).unwrap();
            match damage {
                None => fs::remove_file(&path).unwrap(),
                Some(bytes) => fs::write(&path, bytes).unwrap(),
            }
            let storage = opened(folder.path()).await;
            assert_eq!(get(&storage, "a").await.unwrap(), b"kept", "{file}");
            assert_eq!(fs::read(&path).unwrap(), whole, "{file}");
        }
    }
}

#[tokio::test]
async fn a_store_with_empty_or_missing_files_is_damaged_not_new() {
    for (files, is_emptied) in [
        (vec!["db"], false),
        (vec!["db"], true),
        (vec!["conf", "conf.kept"], false),
        (vec!["conf", "conf.kept"], true),
        (vec!["db", "conf", "conf.kept"], false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        used(folder.path()).await;
        for file in &files {
            let path = folder.path().join(file);
            match is_emptied {
                true => fs::write(&path, "").unwrap(),
                false => fs::remove_file(&path).unwrap(),
            }
        }
        remove_snapshots(folder.path());
        let error = refused(folder.path()).await;
        assert!(
            matches!(error, StoreOpenError::Damaged { .. }),
            "{files:?}: {error}"
        );
        assert_says_what_to_do(&error, folder.path());
        assert!(EmbeddedStore::exists_in(folder.path()).unwrap());
    }
}

fn remove_snapshots(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// Checks for one line with path and remedy, and without sled's own terms.
fn assert_says_what_to_do(error: &StoreOpenError, folder: &Path) {
    let message = error.to_string();
    let path = folder.display().to_string();
    for part in [path.as_str(), "estore the whole data folder from a backup"] {
        assert!(message.contains(part), "no {part:?}: {message}");
    }
    // sled may have written to its files before it failed.
    for part in ["backtrace", "Corruption", "\n", "nothing was changed"] {
        assert!(!message.contains(part), "{part:?}: {message}");
    }
}

/// Names of the store's files and folders, including the run records; true for files.
fn names_in(folder: &Path) -> Vec<(String, bool)> {
    let here = fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, path.is_file())
    });
    let mut names: Vec<_> = here.collect();
    names.push(("runs/00000000000000000001.log".to_owned(), true));
    names
}

#[tokio::test]
async fn damage_to_any_file_is_repaired_or_reported_with_path_and_remedy() {
    let whole = tempfile::tempdir().unwrap();
    used(whole.path()).await;
    // sled writes a snapshot while it opens.
    drop(opened(whole.path()).await);
    for (name, _) in names_in(whole.path()).into_iter().filter(|(_, file)| *file) {
        let contents = fs::read(whole.path().join(&name)).unwrap();
        for damaged in [
            Vec::new(),
            contents[..contents.len() / 2].to_vec(),
            vec![0; contents.len()],
            (0..contents.len())
                .map(|at| ((at * 7) >> 2) as u8)
                .collect(),
        ] {
            let folder = tempfile::tempdir().unwrap();
            copy(whole.path(), folder.path());
            fs::write(folder.path().join(&name), damaged).unwrap();
            if let Err(error) = EmbeddedStore::open(folder.path()).await {
                assert_says_what_to_do(&error, folder.path());
            }
        }
    }
}

#[tokio::test]
async fn a_folder_in_place_of_a_file_and_the_reverse_is_named() {
    let whole = tempfile::tempdir().unwrap();
    used(whole.path()).await;
    drop(opened(whole.path()).await);
    for (name, is_file) in names_in(whole.path()) {
        let folder = tempfile::tempdir().unwrap();
        copy(whole.path(), folder.path());
        let path = folder.path().join(&name);
        match is_file {
            true => {
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
            }
            false => {
                fs::remove_dir_all(&path).unwrap();
                fs::write(&path, "").unwrap();
            }
        }
        let error = refused(folder.path()).await;
        assert_says_what_to_do(&error, folder.path());
        assert!(error.to_string().contains(&name), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_special_file_in_place_of_a_file_is_named_and_not_waited_for() {
    let whole = tempfile::tempdir().unwrap();
    used(whole.path()).await;
    drop(opened(whole.path()).await);
    for (name, _) in names_in(whole.path()).into_iter().filter(|(_, file)| *file) {
        let folder = tempfile::tempdir().unwrap();
        copy(whole.path(), folder.path());
        let path = folder.path().join(&name);
        fs::remove_file(&path).unwrap();
        let _socket = UnixListener::bind(&path).unwrap();
        for error in [
            refused(folder.path()).await,
            refused_reading(folder.path()).await,
        ] {
            assert!(error.to_string().contains(&name), "{name}: {error}");
            let said = error.to_string();
            assert!(said.contains("not a regular file"), "{name}: {error}");
            assert_says_what_to_do(&error, folder.path());
        }
    }
}

/// Such as the master key: someone who can write to the store must not destroy what is elsewhere.
#[tokio::test]
async fn no_write_follows_a_link_in_place_of_a_file() {
    for name in [
        "spare",
        "runs/00000000000000000001.log",
        "runs/00000000000000000002.log",
        "runs/00000000000000000009.log",
    ] {
        let folder = tempfile::tempdir().unwrap();
        used(folder.path()).await;
        let outside = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join(name), outside.path().join("key"));
        let _ = fs::remove_file(&path);
        fs::write(&target, "kept").unwrap();
        symlink(&target, &path).unwrap();
        let opened = EmbeddedStore::open_with_floors(folder.path(), Floors::above(0)).await;
        match opened {
            Ok(store) => drop(store.append(2, b"next".to_vec()).await),
            Err(error) => assert_says_what_to_do(&error, folder.path()),
        }
        assert_eq!(fs::read(&target).unwrap(), b"kept", "{name}");
    }
}

/// Then its document is damaged, and nothing else.
#[tokio::test]
async fn a_large_object_that_is_no_file_reads_as_missing() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let path = folder.path().join("objects/c/large");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let store = opened(folder.path()).await;
    assert_eq!(get(&store, "c/large").await, None);
    assert_eq!(get(&store, "a").await.unwrap(), b"kept");
    fs::remove_dir(&path).unwrap();
    symlink(&path, &path).unwrap();
    assert_eq!(get(&store, "c/large").await, None);
}

#[tokio::test]
async fn a_segment_that_is_no_file_reads_as_missing() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let chain = folder.path().join("audit/installation");
    let path = chain.join(format!("{:012}", 1));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    {
        let store = opened(folder.path()).await;
        let found = Archive::get(&*store, "installation", 1).await;
        assert_eq!(found.unwrap(), None);
    }
    fs::remove_dir(&path).unwrap();
    let socket = UnixListener::bind(&path).unwrap();
    {
        let store = opened(folder.path()).await;
        let found = Archive::get(&*store, "installation", 1).await;
        assert_eq!(found.unwrap(), None);
    }
    drop(socket);
    fs::remove_file(&path).unwrap();
    symlink(&path, &path).unwrap();
    {
        let store = opened(folder.path()).await;
        let found = Archive::get(&*store, "installation", 1).await;
        assert_eq!(found.unwrap(), None);
    }
    fs::remove_dir_all(&chain).unwrap();
    fs::write(&chain, "a file").unwrap();
    let store = opened(folder.path()).await;
    let found = Archive::get(&*store, "installation", 1).await;
    assert_eq!(found.unwrap(), None);
}

pub(super) fn copy(from: &Path, to: &Path) {
    for (path, (contents, _)) in contents(from) {
        let to = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, contents).unwrap();
    }
    for folder in ["blobs", "objects", "audit", "runs"] {
        fs::create_dir_all(to.join(folder)).unwrap();
    }
}

#[tokio::test]
async fn a_log_that_sled_does_not_understand_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let db = folder.path().join("db");
    let len = fs::metadata(&db).unwrap().len() as usize;
    remove_snapshots(folder.path());
    for seed in 0..40_usize {
        let noise: Vec<_> = (0..len).map(|at| ((at * (seed + 3)) >> 3) as u8).collect();
        fs::write(&db, noise).unwrap();
        match EmbeddedStore::open(folder.path()).await {
            Ok(_) => panic!("noise is no store"),
            Err(error) => assert!(error.to_string().contains("Restore"), "{error}"),
        }
    }
}
