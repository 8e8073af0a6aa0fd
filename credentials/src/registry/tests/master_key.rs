//! Rotations of the master key, interrupted at each step.

use keyside_config::{LocalKms, MasterKeySource};
use keyside_store::{faulty::Fault, file::with_suffix};

use super::*;
use crate::kms::KmsSource;

/// An installation whose master key is in a file beside the data.
struct WithFile {
    installation: Installation,
    keys: TempDir,
}

impl WithFile {
    async fn new() -> Self {
        let with_file = Self {
            installation: Installation::new(),
            keys: tempfile::tempdir().unwrap(),
        };
        let registry = with_file.open().await;
        for id in ["acme", "globex"] {
            registry
                .create_workspace(&act(), workspace(id))
                .await
                .unwrap();
        }
        registry.add(&act(), key("a", "sk-a")).await.unwrap();
        with_file
    }

    fn file(&self) -> PathBuf {
        self.keys.path().join("master-key")
    }

    /// The id of the master key in the file.
    fn id(&self) -> String {
        let text = fs::read(self.file()).unwrap();
        MasterKey::parse(&text, "a test").unwrap().id().to_owned()
    }

    fn settings(&self) -> LocalKms {
        LocalKms {
            master_key: MasterKeySource::Generated(self.file()),
            previous_master_key: None,
        }
    }

    async fn open(&self) -> Arc<Registry> {
        self.open_over(self.installation.backend()).await
    }

    async fn open_over(&self, backend: Backend) -> Arc<Registry> {
        self.open_with(backend, &self.settings()).await.unwrap()
    }

    async fn open_with(
        &self,
        backend: Backend,
        settings: &LocalKms,
    ) -> Result<Arc<Registry>, OpenError> {
        let keyring = self.installation.keyring();
        open_without_tasks(OpenOptions {
            kms: Kms::open(&KmsSource::Local(settings.clone()), &keyring).unwrap(),
            ..self.installation.options(backend)
        })
        .await
    }

    /// The files that a rotation changes.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = fs::read_dir(self.keys.path()).unwrap();
        let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        paths.push(self.installation.keyring());
        paths.sort();
        let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
        paths.into_iter().map(read).collect()
    }

    fn put(&self, files: &[(PathBuf, Vec<u8>)]) {
        fs::remove_dir_all(self.keys.path()).unwrap();
        fs::create_dir(self.keys.path()).unwrap();
        for (path, contents) in files {
            fs::write(path, contents).unwrap();
        }
    }
}

fn of(files: &[(PathBuf, Vec<u8>)], path: &Path) -> (PathBuf, Vec<u8>) {
    let mut files = files.iter();
    files.find(|(at, _)| at == path).unwrap().clone()
}

async fn serves(registry: &Registry) {
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).unwrap(),
        "sk-a"
    );
    assert!(
        registry
            .workspaces(&Scope::All)
            .iter()
            .all(|it| !it.damaged)
    );
    registry.audit().verify().await.unwrap();
}

#[tokio::test]
async fn a_rotation_rewraps_every_key_and_keeps_the_old_master_key_as_retired() {
    let with_file = WithFile::new().await;
    let before = with_file.files();
    let registry = with_file.open().await;
    let grant = registry.resolver().resolve(&ask("acme")).unwrap();
    let rotated = registry.rotate_master_key(&act()).await.unwrap();
    assert_eq!((rotated.keys, rotated.warning), (4, None));
    assert_eq!(
        opened(Ok(grant)).unwrap(),
        "sk-a",
        "begun before, ended after"
    );
    serves(&registry).await;
    registry
        .create_workspace(&act(), workspace("initech"))
        .await
        .unwrap();
    drop(registry);
    let registry = with_file.open().await;
    serves(&registry).await;
    let records = records(&registry).await;
    let record = records
        .iter()
        .find(|it| it.event == Event::MasterKeyRotated);
    assert_eq!(record.unwrap().note.as_ref(), Some(&rotated.master_key));
    let keyring = fs::read_to_string(with_file.installation.keyring()).unwrap();
    assert_eq!(keyring.matches("\"wrapped\"").count(), 5);
    // The old key is kept, and unwraps only the old keyring.
    let name = format!("master-key.retired-{}", rotated.previous);
    let retired = fs::read(with_file.keys.path().join(name)).unwrap();
    assert_eq!(retired, of(&before, &with_file.file()).1);
    fs::write(with_file.file(), retired).unwrap();
    let settings = with_file.settings();
    let backend = with_file.installation.backend();
    assert!(with_file.open_with(backend, &settings).await.is_err());
}

/// The files of a rotation, and its installation, as a kill after one of its steps leaves them.
type Step = (Vec<(PathBuf, Vec<u8>)>, Installation);

impl WithFile {
    fn step(&self) -> Step {
        (self.files(), self.installation.copy())
    }

    /// Restores that state, and returns the store to continue with.
    fn go_back(&self, files: &[(PathBuf, Vec<u8>)], installation: &Installation) -> Arc<Memory> {
        self.put(files);
        self.installation.put_back_anchors(installation);
        Arc::new(installation.memory.copy())
    }
}

#[tokio::test]
async fn a_rotation_killed_at_any_step_is_completed_or_undone_at_the_start() {
    let with_file = WithFile::new().await;
    let (old, before) = with_file.step();
    let registry = with_file.open().await;
    let to = registry.announce_keys(&act()).await.unwrap();
    let (begun, announced) = with_file.step();
    registry.adopt_signing_key(&to.signing_key).await.unwrap();
    let (_, gone_over) = with_file.step();
    let now = registry.clock.now();
    let rewrapped = registry
        .keyring
        .rewrap(&to.master_key, Some(&to.signing_key), now);
    let rotated = rewrapped.await.unwrap();
    let (new, done) = with_file.step();
    drop(registry);
    let (file, keyring) = (with_file.file(), with_file.installation.keyring());
    let beside = |suffix: &str| with_suffix(&file, suffix);
    let new_beside = (beside(".next-of-keyside"), of(&new, &file).1);
    let retired = of(&new, &beside(&format!(".retired-{}", rotated.previous)));
    let (old_file, old_keyring) = (of(&old, &file), of(&old, &keyring));
    let new_keyring = of(&new, &keyring);
    let made = vec![old_file.clone(), old_keyring, new_beside.clone()];
    let wrapped = vec![old_file.clone(), new_keyring.clone(), new_beside.clone()];
    let kept = vec![old_file, new_keyring, new_beside, retired];
    // The state after a kill at each step, and whether the rotation is complete.
    let cuts = [
        (&old, &before, false),
        (&made, &before, false),
        (&begun, &before, false),
        (&begun, &announced, true),
        (&begun, &gone_over, true),
        (&wrapped, &done, true),
        (&kept, &done, true),
        (&new, &done, true),
    ];
    for (step, (files, installation, finished)) in cuts.into_iter().enumerate() {
        let memory = with_file.go_back(files, installation);
        let registry = with_file.open_over(Backend::of(memory.clone())).await;
        serves(&registry).await;
        drop(registry);
        let expected = if finished { &new } else { &old };
        let names = |files: &[(PathBuf, Vec<u8>)]| {
            let names = files.iter().map(|(path, _)| path.clone());
            names.collect::<Vec<_>>()
        };
        let found = with_file.files();
        assert_eq!(names(&found), names(expected), "step {step}");
        assert_eq!(of(&found, &file), of(expected, &file), "step {step}");
        // The next rotation from there works.
        let registry = with_file.open_over(Backend::of(memory)).await;
        registry.rotate_master_key(&act()).await.unwrap();
        serves(&registry).await;
    }
    // Not a kill, but a rolled-back store: its heads are signed with the retired key.
    let memory = with_file.go_back(&wrapped, &before);
    let settings = with_file.settings();
    let opened = with_file.open_with(Backend::of(memory), &settings).await;
    let error = opened.err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_storage_failure_at_any_step_leaves_a_rotation_complete_or_not_begun() {
    for fault in [Fault::Refused, Fault::AnswerLost] {
        for at in 1.. {
            let with_file = WithFile::new().await;
            let storage = Arc::new(Faulty::new(with_file.installation.backend()));
            let registry = with_file.open_over(storage.backend()).await;
            storage.fail(at, 1, fault);
            let outcome = registry.rotate_master_key(&act()).await;
            let reached = storage.heal();
            serves(&registry).await;
            registry
                .create_workspace(&act(), workspace("initech"))
                .await
                .unwrap();
            drop(registry);
            let registry = with_file.open().await;
            serves(&registry).await;
            let on_record = recorded(&registry).await;
            assert!(
                on_record.is_none_or(|id| id == with_file.id()),
                "{at}, {fault:?}: it is recorded, but was not finished"
            );
            let left = with_file.files().into_iter();
            let left: Vec<_> = left.map(|(path, _)| path).collect();
            assert!(
                !left
                    .iter()
                    .any(|path| path.ends_with("master-key.next-of-keyside")),
                "{at}, {fault:?}: {left:?}"
            );
            assert!(
                outcome.is_err() || left.len() == 3,
                "{at}, {fault:?}: {left:?}"
            );
            if !reached {
                outcome.unwrap();
                assert!(at > STEPS, "{at}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_rotation_that_was_recorded_is_never_reported_as_unchanged() {
    let with_file = WithFile::new().await;
    let registry = with_file.open().await;
    // Blocks the temporary file of the keyring.
    let in_the_way = with_suffix(&with_file.installation.keyring(), ".new");
    fs::create_dir(&in_the_way).unwrap();
    let error = registry.rotate_master_key(&act()).await.unwrap_err();
    assert!(matches!(error, ChangeError::StoreUnavailable(_)), "{error}");
    assert!(recorded(&registry).await.is_none());
    fs::remove_dir(&in_the_way).unwrap();
    let to = registry.announce_keys(&act()).await.unwrap();
    fs::create_dir(&in_the_way).unwrap();
    let error = registry.finish_rotation(&to).await.unwrap_err();
    assert!(matches!(error, ChangeError::OutcomeUnknown(_)), "{error}");
    assert!(recorded(&registry).await.is_some());
    serves(&registry).await;
    drop(registry);
    fs::remove_dir(&in_the_way).unwrap();
    let registry = with_file.open().await;
    serves(&registry).await;
    assert_eq!(recorded(&registry).await, Some(with_file.id()));
}

/// As if somebody had deleted a file that looks left over. What only memory has is lost at a restart.
#[tokio::test]
async fn nothing_is_wrapped_with_a_new_master_key_whose_file_is_gone() {
    for is_restarted in [false, true] {
        let with_file = WithFile::new().await;
        let mut registry = with_file.open().await;
        let to = registry.announce_keys(&act()).await.unwrap();
        fs::remove_file(with_suffix(&with_file.file(), ".next-of-keyside")).unwrap();
        let error = registry.finish_rotation(&to).await.unwrap_err();
        assert!(error.to_string().contains("Rotate again"), "{error}");
        serves(&registry).await;
        if is_restarted {
            drop(registry);
            registry = with_file.open().await;
            serves(&registry).await;
        }
        let rotated = registry.rotate_master_key(&act()).await.unwrap();
        assert_ne!(rotated.master_key, to.master_key);
        serves(&registry).await;
        drop(registry);
        assert_eq!(with_file.id(), rotated.master_key);
        serves(&*with_file.open().await).await;
    }
}

/// The master key that the log says to rotate to.
async fn recorded(registry: &Registry) -> Option<String> {
    let records = records(registry).await;
    let mut rotations = records
        .into_iter()
        .filter(|it| it.event == Event::MasterKeyRotated);
    rotations.next()?.note
}

/// The least number of writes: a document, a page, a record, the head, and the sync.
const STEPS: usize = 5;

#[tokio::test]
async fn a_master_key_installed_by_an_operator_is_adopted() {
    let with_file = WithFile::new().await;
    let (old, new) = (
        with_file.keys.path().join("old"),
        with_file.keys.path().join("mounted"),
    );
    fs::rename(with_file.file(), &old).unwrap();
    fs::write(&new, MasterKey::generate().as_bytes()).unwrap();
    let settings = LocalKms {
        master_key: MasterKeySource::File(new.clone()),
        previous_master_key: Some(old),
    };
    let backend = with_file.installation.backend();
    let registry = with_file
        .open_with(backend.clone(), &settings)
        .await
        .unwrap();
    serves(&registry).await;
    registry
        .create_workspace(&act(), workspace("initech"))
        .await
        .unwrap();
    let rotated = registry.rotate_master_key(&act()).await.unwrap();
    assert_eq!(
        rotated.keys, 5,
        "the newest too, since it gets another signing key"
    );
    drop(registry);
    let settings = LocalKms {
        previous_master_key: None,
        ..settings
    };
    let registry = with_file.open_with(backend, &settings).await.unwrap();
    serves(&registry).await;
    let text = fs::read(new).unwrap();
    let id = MasterKey::parse(&text, "a test").unwrap().id().to_owned();
    assert_eq!(id, rotated.master_key);
}

#[tokio::test]
async fn a_master_key_from_a_variable_is_not_replaced_and_the_error_says_what_to_do() {
    let (_installation, registry) = Installation::with_acme().await;
    let head = seen(&registry).await;
    let error = registry.rotate_master_key(&act()).await.unwrap_err();
    assert!(matches!(error, ChangeError::MasterKeyFixed(_)), "{error}");
    assert!(
        error.to_string().contains("kms.previous_master_key_file"),
        "{error}"
    );
    assert_eq!(seen(&registry).await, head);
}
