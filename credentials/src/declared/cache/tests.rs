use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use keyside_config::{Catalogue, DeclaredCredential, EnvironmentPin};

use super::*;
use crate::{
    CredentialQuery, DeclaredCredentials, DeclaredOptions, MasterKey, Refusal,
    clock::held::HeldClock,
    declared::tests::{self, Answer, ScriptedVault},
    source::SourceError,
};

const OUTAGE: Duration = Duration::from_secs(900);
const START: i64 = 1_000_000;
const SECRET: &str = "sk-canary-cache-0f2b9d51c7";

/// A machine: its clock, its key, its cache and the answers of its Vault.
struct Machine {
    home: tempfile::TempDir,
    clock: Arc<HeldClock>,
    vault: Arc<ScriptedVault>,
    address: &'static str,
}

fn away() -> Answer {
    Err(SourceError::Unavailable("sealed".into()))
}

fn gone() -> Answer {
    Err(SourceError::Gone("404".into()))
}

fn declared(label: &str, source: &str) -> DeclaredCredential {
    tests::declared(label, source.parse().unwrap())
}

impl Machine {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        write_key(&home.path().join("key"));
        let vault = Arc::new(ScriptedVault::default());
        vault.set(Ok(("1", SECRET)));
        Self {
            home,
            clock: Arc::new(HeldClock::at(START)),
            vault,
            address: "https://vault.internal:8200",
        }
    }

    fn answers(&self, answer: Answer) {
        self.vault.set(answer);
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("cache")
    }

    fn file(&self) -> PathBuf {
        self.folder().join("vault-secrets")
    }

    fn options(&self) -> CacheOptions {
        let folder = self.folder();
        CacheOptions {
            key: CacheKey::read(&self.home.path().join("key"), &folder).unwrap(),
            folder,
            address: self.address.into(),
            namespace: None,
        }
    }

    fn cache(&self) -> Cache {
        Cache::new(self.options(), OUTAGE)
    }

    fn process(&self, credentials: Vec<DeclaredCredential>) -> Arc<DeclaredCredentials> {
        let options = DeclaredOptions {
            credentials,
            catalogue: Arc::new(Catalogue::builtin()),
            vault: Some(self.vault.clone()),
            poll: Duration::from_secs(30),
            outage: OUTAGE,
            cache: Some(self.options()),
            clock: self.clock.clone(),
        };
        DeclaredCredentials::new(options).unwrap()
    }

    /// Starts a process with one credential.
    async fn start(&self) -> Arc<DeclaredCredentials> {
        let declared = self.process(vec![declared("main", "vault:kv/teams/acme#api_key")]);
        declared.follow().await;
        declared
    }

    /// Starts a process and ends it once the cache is on disk. Dropping its runtime stops all
    /// tasks.
    async fn run_once(&self) {
        let declared = self.start().await;
        until(|| self.file().exists()).await;
        assert!(declared.cache_fault().is_none());
    }
}

fn id() -> CredentialId {
    format!("cred_{}", "a".repeat(26)).parse().unwrap()
}

fn reference(path: &str) -> VaultReference {
    VaultReference::new(None, path, "api_key", None).unwrap()
}

fn write_key(path: &Path) {
    fs::write(path, MasterKey::generate().as_bytes()).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// Runs in its own runtime, which stops as abruptly as a killed process.
fn in_a_process<T>(task: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(task)
}

async fn until(condition: impl Fn() -> bool) {
    let in_time = tokio::time::timeout(Duration::from_secs(600), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    in_time.await.expect("it comes to be so");
}

fn resolve(declared: &DeclaredCredentials, label: &str) -> Result<Vec<u8>, Refusal> {
    let grant = declared.resolver().resolve(&CredentialQuery {
        workspace: "acme",
        provider: "openai",
        label: Some(label),
        environment: None,
        pin: EnvironmentPin::Any,
    })?;
    Ok(grant.open().unwrap().expose().to_vec())
}

#[test]
fn a_start_during_an_outage_serves_the_cached_secret_and_reports_it() {
    let machine = Machine::new();
    in_a_process(machine.run_once());
    let written = fs::read(machine.file()).unwrap();
    for visible in [SECRET, "acme", "kv/teams", "api_key", "vault.internal"] {
        let visible = visible.as_bytes();
        let is_there = written.windows(visible.len()).any(|part| part == visible);
        assert!(!is_there, "{visible:?}");
    }
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&machine.file()), 0o600);
    assert_eq!(mode(&machine.folder()), 0o700);

    machine.answers(away());
    machine.clock.set(START + 100);
    in_a_process(async {
        let declared = machine.start().await;
        assert_eq!(resolve(&declared, "main").unwrap(), SECRET.as_bytes());
        let health = &declared.source_health()[0];
        assert!(health.usable && health.fault.is_some());
        let cached = health.cached.unwrap();
        assert_eq!(cached.confirmed.as_second(), START);
        assert_eq!(cached.until.as_second(), START + 900);

        machine.answers(Ok(("1", SECRET)));
        until(|| declared.source_health()[0].cached.is_none()).await;
        assert_eq!(resolve(&declared, "main").unwrap(), SECRET.as_bytes());
        assert_eq!(declared.source_health()[0].fault, None);
    });
}

#[test]
fn the_first_answer_of_vault_replaces_the_cached_version_even_if_its_number_is_lower() {
    let machine = Machine::new();
    in_a_process(machine.run_once());
    // The path was deleted and written again, so its version restarted at 1.
    machine.answers(Ok(("1", "sk-canary-cache-another")));
    in_a_process(async {
        let declared = machine.start().await;
        let secret = resolve(&declared, "main").unwrap();
        assert_eq!(secret, b"sk-canary-cache-another");
        assert_eq!(declared.source_health()[0].cached, None);
    });
}

#[test]
fn an_entry_is_used_until_the_outage_limit_and_then_deleted() {
    let machine = Machine::new();
    in_a_process(machine.run_once());
    machine.answers(away());
    machine.clock.set(START + 899);
    in_a_process(async {
        let declared = machine.start().await;
        assert!(resolve(&declared, "main").is_ok());
        machine.clock.set(START + 900);
        until(|| resolve(&declared, "main").is_err()).await;
        assert_eq!(
            resolve(&declared, "main").unwrap_err(),
            Refusal::SecretUnavailable
        );
        until(|| !machine.file().exists()).await;
    });
    machine.answers(Ok(("1", SECRET)));
    in_a_process(machine.run_once());
    machine.answers(away());
    machine.clock.set(START + 900 + 900);
    in_a_process(async {
        let declared = machine.start().await;
        assert_eq!(
            resolve(&declared, "main").unwrap_err(),
            Refusal::SecretUnavailable
        );
        assert!(declared.source_health()[0].unknown);
        until(|| !machine.file().exists()).await;
    });
}

#[test]
fn the_age_of_an_entry_counts_from_its_last_confirmation() {
    let machine = Machine::new();
    let cache = machine.cache();
    let at = |second| Timestamp::from_second(START + second).unwrap();
    let (id, reference) = (id(), reference("kv/one"));
    let context = cache.context(&id, &reference);
    let secret = Secret::from_plaintext(SECRET.into()).unwrap();
    cache.keep(&context, "1", &secret, at(0));
    assert_eq!(cache.due(at(0)).unwrap().0.len(), 1);
    assert!(cache.due(at(1)).is_none(), "nothing has changed");
    cache.confirm(&context, at(800));
    assert!(cache.due(at(1_699)).is_none(), "it is still good");
    // A tenth of the outage limit later.
    cache.contents.lock().written = None;
    let (entries, _) = cache.due(at(1_699)).unwrap();
    assert_eq!(entries[0].confirmed, at(800));
    // Too old, and valid again once Vault answers.
    assert!(cache.due(at(1_700)).unwrap().0.is_empty());
    cache.confirm(&context, at(1_800));
    assert_eq!(cache.due(at(1_800)).unwrap().0.len(), 1);
}

#[test]
fn a_new_version_replaces_the_cached_one() {
    let machine = Machine::new();
    in_a_process(async {
        let declared = machine.start().await;
        until(|| machine.file().exists()).await;
        let before = fs::read(machine.file()).unwrap();
        machine.answers(Ok(("2", "sk-canary-cache-second")));
        until(|| resolve(&declared, "main").unwrap() == b"sk-canary-cache-second").await;
        until(|| fs::read(machine.file()).unwrap() != before).await;
    });
    machine.answers(away());
    in_a_process(async {
        let declared = machine.start().await;
        let secret = resolve(&declared, "main").unwrap();
        assert_eq!(secret, b"sk-canary-cache-second");
    });
}

#[test]
fn a_clock_set_back_invalidates_the_cache_and_is_reported() {
    let machine = Machine::new();
    in_a_process(machine.run_once());
    machine.answers(away());
    machine.clock.set(START - 1);
    in_a_process(async {
        let declared = machine.start().await;
        assert_eq!(
            resolve(&declared, "main").unwrap_err(),
            Refusal::SecretUnavailable
        );
        let fault = declared.cache_fault().unwrap();
        assert!(fault.contains("from the future"), "{fault}");
        assert!(fault.contains("correct the clock"), "{fault}");
        until(|| !machine.file().exists()).await;
        assert!(declared.cache_fault().is_some(), "the fault stays reported");
    });
}

#[test]
fn a_secret_deleted_in_vault_is_deleted_from_the_cache_file() {
    let machine = Machine::new();
    in_a_process(async {
        let declared = machine.start().await;
        until(|| machine.file().exists()).await;
        machine.answers(gone());
        until(|| resolve(&declared, "main").is_err()).await;
        until(|| !machine.file().exists()).await;
    });
    machine.answers(away());
    in_a_process(async {
        let declared = machine.start().await;
        assert_eq!(
            resolve(&declared, "main").unwrap_err(),
            Refusal::SecretUnavailable
        );
    });
}

#[test]
fn an_entry_is_valid_only_for_its_own_credential_path_and_vault() {
    let mut machine = Machine::new();
    in_a_process(machine.run_once());
    machine.answers(away());
    let whole = fs::read(machine.file()).unwrap();
    for (label, source) in [
        ("other", "vault:kv/teams/acme#api_key"),
        ("main", "vault:kv/teams/acme#other_key"),
        ("main", "vault:kv/teams/other#api_key"),
    ] {
        in_a_process(async {
            let declared = machine.process(vec![declared(label, source)]);
            declared.open_cache().await;
            let refused = resolve(&declared, label).unwrap_err();
            assert_eq!(refused, Refusal::SecretUnavailable, "{label} {source}");
        });
    }
    machine.address = "https://other.internal:8200";
    in_a_process(async {
        let declared = machine.start().await;
        assert_eq!(
            resolve(&declared, "main").unwrap_err(),
            Refusal::SecretUnavailable
        );
        // An entry that no configured credential can use is deleted.
        until(|| !machine.file().exists()).await;
    });
    fs::write(machine.file(), whole).unwrap();
    machine.address = "https://vault.internal:8200";
    in_a_process(async {
        let declared = machine.start().await;
        assert!(resolve(&declared, "main").is_ok(), "the control");
    });
}

/// With the key, as after a bug in Keyside: the associated data binds the entry even where the MAC
/// over the file does not.
#[test]
fn a_secret_moved_to_another_entry_does_not_decrypt() {
    let machine = Machine::new();
    let cache = machine.cache();
    let (id, one, other) = (id(), reference("kv/one"), reference("kv/other"));
    let now = Timestamp::from_second(START).unwrap();
    let secret = Secret::from_plaintext(SECRET.into()).unwrap();
    cache.keep(&cache.context(&id, &one), "1", &secret, now);
    let mut entry = cache
        .contents
        .lock()
        .entries
        .values()
        .next()
        .unwrap()
        .clone();
    let left = |entry: &Entry| StoredEntries(BTreeMap::from([(entry.context, entry.clone())]));
    let context = cache.context(&id, &one);
    assert!(cache.take(&left(&entry), &context, now).unwrap().is_some());
    let elsewhere = cache.context(&id, &other);
    entry.context = cache.tag(&elsewhere);
    let Err(refused) = cache.take(&left(&entry), &elsewhere, now) else {
        panic!("it was opened");
    };
    assert!(refused.contains("sealed for another place"), "{refused}");
}

#[test]
fn a_damaged_foreign_or_world_readable_cache_is_reported_and_does_not_prevent_a_start() {
    let machine = Machine::new();
    in_a_process(machine.run_once());
    machine.answers(away());
    let whole = fs::read(machine.file()).unwrap();
    let expect = |named: &str| {
        in_a_process(async {
            let declared = machine.start().await;
            let refused = resolve(&declared, "main").unwrap_err();
            assert_eq!(refused, Refusal::SecretUnavailable, "{named}");
            let fault = declared.cache_fault().unwrap_or_default();
            assert!(fault.contains(named), "{fault}");
        });
    };
    for byte in [2, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[byte] ^= 1;
        fs::write(machine.file(), damaged).unwrap();
        expect("the copy is not used");
    }
    for cut in [0, 1, 30, whole.len() - 1] {
        fs::write(machine.file(), &whole[..cut]).unwrap();
        expect("the copy is not used");
    }
    fs::write(machine.file(), &whole).unwrap();
    fs::set_permissions(machine.folder(), Permissions::from_mode(0o755)).unwrap();
    expect("chmod 700");
    fs::set_permissions(machine.folder(), Permissions::from_mode(0o700)).unwrap();
    fs::remove_file(machine.file()).unwrap();
    fs::create_dir(machine.file()).unwrap();
    expect("vault-secrets");
    fs::remove_dir(machine.file()).unwrap();
    fs::write(machine.file(), &whole).unwrap();
    write_key(&machine.home.path().join("key"));
    expect("another key");

    // The next secret that Vault sends replaces it.
    machine.answers(Ok(("1", SECRET)));
    in_a_process(async {
        let declared = machine.start().await;
        until(|| declared.cache_fault().is_none()).await;
    });
    machine.answers(away());
    in_a_process(async {
        let declared = machine.start().await;
        assert!(resolve(&declared, "main").is_ok());
    });
}

#[test]
fn a_cache_folder_that_cannot_be_created_is_reported_and_requests_are_served() {
    let machine = Machine::new();
    fs::write(machine.folder(), "a file in its place").unwrap();
    in_a_process(async {
        let declared = machine.start().await;
        assert!(resolve(&declared, "main").is_ok());
        until(|| declared.cache_fault().is_some()).await;
        let fault = declared.cache_fault().unwrap();
        assert!(fault.contains("/cache"), "{fault}");
    });
}

#[tokio::test]
async fn a_cache_file_that_cannot_be_replaced_is_deleted_if_it_contains_a_deleted_secret() {
    let machine = Machine::new();
    let cache = machine.cache();
    let (id, one, other) = (id(), reference("kv/one"), reference("kv/other"));
    let now = Timestamp::from_second(START).unwrap();
    let secret = Secret::from_plaintext(SECRET.into()).unwrap();
    for reference in [&one, &other] {
        cache.keep(&cache.context(&id, reference), "1", &secret, now);
    }
    cache.write_if_due(now).await;
    assert!(machine.file().exists() && cache.fault().is_none());
    fs::set_permissions(machine.folder(), Permissions::from_mode(0o755)).unwrap();
    cache.evict(&cache.context(&id, &one));
    cache.write_if_due(now).await;
    assert!(!machine.file().exists());
    assert!(cache.fault().unwrap().contains("chmod 700"));

    fs::set_permissions(machine.folder(), Permissions::from_mode(0o700)).unwrap();
    cache.keep(&cache.context(&id, &other), "1", &secret, now);
    cache.write_if_due(now).await;
    assert_eq!(cache.fault(), None);
    let left = cache.read(now).await;
    let taken = |reference: &VaultReference| {
        let context = cache.context(&id, reference);
        cache.take(&left, &context, now).unwrap().is_some()
    };
    assert!(taken(&other) && !taken(&one));
}
