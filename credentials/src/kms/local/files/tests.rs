use super::*;
use crate::kms::{Kms, KmsSource};

struct Setup {
    folder: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("master-key")
    }

    fn settings(&self) -> LocalKms {
        LocalKms {
            master_key: MasterKeySource::Generated(self.path()),
            previous_master_key: None,
        }
    }

    fn find(&self) -> MasterKeyFiles {
        MasterKeyFiles::find(&self.settings(), &self.folder.path().join("keyring")).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn an_adopted_key_replaces_the_old_one_which_is_kept_as_retired() {
    let setup = Setup::new();
    let mut keys = setup.find();
    let old = keys.current.id().to_owned();
    let new = keys.make_next().unwrap().id().to_owned();
    assert_eq!(keys.make_next().unwrap().id(), new, "made once");
    assert_eq!(keys.current.id(), old);
    keys.adopt(&new).unwrap();
    assert_eq!(keys.current.id(), new);
    assert_eq!(setup.find().current.id(), new);
    let retired = format!("master-key.retired-{old}");
    assert_eq!(setup.names(), ["master-key".to_owned(), retired.clone()]);
    let kept = fs::read(setup.folder.path().join(retired)).unwrap();
    assert_eq!(MasterKey::parse(&kept, "a test").unwrap().id(), old);
    assert_eq!(
        setup.path().metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_key_left_by_an_interrupted_rotation_is_found_and_can_be_deleted() {
    let setup = Setup::new();
    let new = setup.find().make_next().unwrap().id().to_owned();
    let mut keys = setup.find();
    assert!(keys.get(&new).is_some());
    keys.forget_next().unwrap();
    assert_eq!(setup.names(), ["master-key"]);
    assert!(setup.find().get(&new).is_none());
}

#[test]
fn an_adopted_key_whose_file_could_not_be_moved_is_never_overwritten() {
    let setup = Setup::new();
    let mut keys = setup.find();
    let old = keys.current.id().to_owned();
    let new = keys.make_next().unwrap().id().to_owned();
    // Blocks the path of the copy of the old key.
    let blocker = setup
        .folder
        .path()
        .join(format!("master-key.retired-{old}.new"));
    fs::create_dir(&blocker).unwrap();
    keys.adopt(&new).unwrap_err();
    assert_eq!(keys.current.id(), new, "it wraps all the same");
    assert!(matches!(
        keys.make_next().err(),
        Some(KmsError::NotReplaceable(_))
    ));
    assert!(setup.find().is_next(&new), "and a start finds it");
    fs::remove_dir(&blocker).unwrap();
    let third = keys.make_next().unwrap().id().to_owned();
    assert_eq!(setup.find().current.id(), new);
    assert!(setup.find().is_next(&third));
}

#[test]
fn the_old_key_stays_retired_although_the_sync_after_the_move_failed() {
    let setup = Setup::new();
    let mut keys = setup.find();
    let old = keys.current.id().to_owned();
    let new = keys.make_next().unwrap().id().to_owned();
    keys.adopt(&new).unwrap();
    // As if syncing the folder had failed: the file was moved nevertheless.
    keys.misplaced = true;
    let third = keys.make_next().unwrap().id().to_owned();
    let retired = setup
        .folder
        .path()
        .join(format!("master-key.retired-{old}"));
    let kept = fs::read(retired).unwrap();
    assert_eq!(MasterKey::parse(&kept, "a test").unwrap().id(), old);
    assert_eq!(setup.find().current.id(), new);
    assert!(setup.find().is_next(&third));
}

#[test]
fn a_key_file_replaced_by_an_operator_during_a_rotation_is_kept_too() {
    let setup = Setup::new();
    let mut keys = setup.find();
    let new = keys.make_next().unwrap().id().to_owned();
    let theirs = MasterKey::generate();
    fs::write(setup.path(), &*theirs).unwrap();
    let theirs = MasterKey::parse(theirs.as_bytes(), "a test").unwrap();
    keys.adopt(&new).unwrap();
    assert_eq!(setup.find().current.id(), new);
    let retired = format!("master-key.retired-{}", theirs.id());
    let kept = fs::read(setup.folder.path().join(retired)).unwrap();
    assert_eq!(MasterKey::parse(&kept, "a test").unwrap().id(), theirs.id());
}

#[test]
fn a_key_file_that_an_operator_put_beside_it_is_neither_used_nor_deleted() {
    let setup = Setup::new();
    setup.find();
    let beside = setup.folder.path().join("master-key.new");
    let theirs = MasterKey::generate();
    fs::write(&beside, &*theirs).unwrap();
    let mut keys = setup.find();
    assert!(keys.next.is_none());
    let new = keys.make_next().unwrap().id().to_owned();
    keys.adopt(&new).unwrap();
    assert_eq!(fs::read(&beside).unwrap(), theirs.as_bytes());
}

#[test]
fn a_half_written_key_left_by_a_kill_is_deleted() {
    let setup = Setup::new();
    setup.find();
    fs::write(
        setup.folder.path().join("master-key.next-of-keyside.new"),
        "half a k",
    )
    .unwrap();
    let mut keys = setup.find();
    assert!(keys.next.is_none());
    assert_eq!(
        setup.names().len(),
        2,
        "a process that only reads finds it too"
    );
    keys.forget_next().unwrap();
    assert_eq!(setup.names(), ["master-key"]);
}

#[test]
fn a_next_key_whose_file_is_gone_is_not_used() {
    let setup = Setup::new();
    let file = setup.folder.path().join("master-key.next-of-keyside");
    let mut keys = setup.find();
    let lost = keys.make_next().unwrap().id().to_owned();
    keys.expect_next_on_disk(&lost).unwrap();
    fs::remove_file(&file).unwrap();
    let refused = keys.expect_next_on_disk(&lost);
    assert!(matches!(refused, Err(KmsError::NextGone(path)) if path == file));
    assert!(!keys.is_next(&lost));
    let lost_too = keys.make_next().unwrap().id().to_owned();
    fs::remove_file(&file).unwrap();
    let next = keys.make_next().unwrap().id().to_owned();
    assert!(next != lost && next != lost_too);
    assert!(setup.find().is_next(&next));
}

#[test]
fn two_processes_that_rotate_at_the_same_time_share_the_next_key() {
    let setup = Setup::new();
    let (mut one, mut other) = (setup.find(), setup.find());
    let next = one.make_next().unwrap().id().to_owned();
    assert_eq!(other.make_next().unwrap().id(), next);
    one.adopt(&next).unwrap();
    assert_eq!(setup.find().current.id(), next);
}

#[test]
fn a_key_file_that_cannot_be_replaced_names_the_manual_procedure() {
    let setup = Setup::new();
    setup.find();
    let link = setup.folder.path().join("link");
    std::os::unix::fs::symlink(setup.path(), &link).unwrap();
    let settings = LocalKms {
        master_key: MasterKeySource::File(link),
        ..setup.settings()
    };
    let mut keys = MasterKeyFiles::find(&settings, Path::new("keyring")).unwrap();
    let error = keys.make_next().err().unwrap().to_string();
    assert!(error.contains("kms.previous_master_key_file"), "{error}");
    assert_eq!(setup.names(), ["link", "master-key"]);
}

#[test]
fn a_restore_never_generates_the_key_that_it_needs() {
    let setup = Setup::new();
    let error = Kms::open_existing(&KmsSource::Local(setup.settings()), Path::new("keyring"));
    let error = error.err().unwrap().to_string();
    assert!(
        error.contains("the one there that the backup was made with"),
        "{error}"
    );
    assert!(setup.names().is_empty());
}
