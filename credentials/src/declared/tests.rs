use std::{fs, path::Path, sync::Mutex};

use async_trait::async_trait;
use keyside_config::EnvironmentPin;

use super::*;
use crate::{
    CredentialQuery, Grant, Refusal, RejectionCause, SystemClock,
    source::{Reading, SourceError, VaultReference},
};

pub(super) fn declared(label: &str, source: SourceReference) -> DeclaredCredential {
    DeclaredCredential {
        workspace: "acme".into(),
        provider: "openai".parse().unwrap(),
        label: label.into(),
        environment: DeclaredEnvironment::Live,
        usage_tag: None,
        endpoint: None,
        limits: keyside_config::DeclaredLimits::default(),
        source,
    }
}

fn open(
    credentials: Vec<DeclaredCredential>,
    vault: Option<Arc<dyn SecretSource>>,
) -> Arc<Declared> {
    let options = DeclaredOptions {
        credentials,
        catalogue: Arc::new(Catalogue::builtin()),
        vault,
        poll: Duration::from_secs(30),
        outage: Duration::from_secs(900),
        cache: None,
        clock: Arc::new(SystemClock),
    };
    Declared::new(options).unwrap()
}

fn resolve(declared: &Declared, label: Option<&str>) -> Result<Grant, Refusal> {
    declared.resolver().resolve(&CredentialQuery {
        workspace: "acme",
        provider: "openai",
        label,
        environment: None,
        pin: EnvironmentPin::Any,
    })
}

fn secret_of(grant: &Grant) -> Vec<u8> {
    grant.open().unwrap().expose().to_vec()
}

/// Polls until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    let in_time = tokio::time::timeout(Duration::from_secs(30), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    in_time.await.expect("it comes to be so");
}

fn file(path: &Path) -> SourceReference {
    SourceReference::File(path.to_owned())
}

#[tokio::test]
async fn changes_of_a_secret_file_are_picked_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, "sk-canary-declared-first\n").unwrap();
    let missing = folder.path().join("missing");
    let declared = open(
        vec![
            declared("main", file(&path)),
            declared("other", file(&missing)),
        ],
        None,
    );
    assert_eq!(
        resolve(&declared, None).unwrap_err(),
        Refusal::SecretUnavailable
    );
    declared.follow().await;
    let grant = resolve(&declared, None).unwrap();
    assert_eq!(secret_of(&grant), b"sk-canary-declared-first");
    assert_eq!(grant.label().as_str(), "main");
    // A missing file only refuses requests for its own credential.
    assert_eq!(
        resolve(&declared, Some("other")).unwrap_err(),
        Refusal::SecretGone
    );

    fs::write(folder.path().join("next"), "sk-canary-declared-second").unwrap();
    fs::rename(folder.path().join("next"), &path).unwrap();
    until(|| resolve(&declared, None).unwrap().version() == 2).await;
    let grant = resolve(&declared, None).unwrap();
    assert_eq!(secret_of(&grant), b"sk-canary-declared-second");
    // Responses are also searched for the previous secret.
    let others = grant.open_others(|| SystemClock.now());
    assert_eq!(others.len(), 1);
    assert_eq!(others[0].expose(), b"sk-canary-declared-first");

    fs::remove_file(&path).unwrap();
    until(|| resolve(&declared, None).is_err()).await;
    assert_eq!(resolve(&declared, None).unwrap_err(), Refusal::SecretGone);
    let health = &declared.source_health()[0];
    assert!(!health.usable);
    let fault = health.fault.as_ref().unwrap();
    assert!(fault.contains("/key: there is no such file"), "{fault}");
    fs::write(&path, "sk-canary-declared-third").unwrap();
    until(|| resolve(&declared, None).is_ok()).await;
}

#[tokio::test]
async fn a_rejection_in_traffic_ends_with_the_next_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, "sk-canary-declared-first\n").unwrap();
    let declared = open(vec![declared("main", file(&path))], None);
    declared.follow().await;
    resolve(&declared, None)
        .unwrap()
        .rejected(RejectionCause::WrongKey);
    let rejected = declared.rejected_in_traffic();
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].label.as_str(), "main");
    assert_eq!(declared.traffic_counts()["openai"].rejected, 1);
    fs::write(folder.path().join("next"), "sk-canary-declared-second").unwrap();
    fs::rename(folder.path().join("next"), &path).unwrap();
    until(|| resolve(&declared, None).unwrap().version() == 2).await;
    assert!(declared.rejected_in_traffic().is_empty());
    assert_eq!(declared.traffic_counts()["openai"].ok, 1);
}

/// A Vault whose answer the test sets.
#[derive(Default)]
pub(super) struct ScriptedVault(Mutex<Option<Answer>>);

/// A version and its secret, or why it was not read.
pub(super) type Answer = Result<(&'static str, &'static str), SourceError>;

impl ScriptedVault {
    pub(super) fn set(&self, answer: Answer) {
        *self.0.lock().unwrap() = Some(answer);
    }
}

#[async_trait]
impl SecretSource for ScriptedVault {
    async fn read(
        &self,
        _reference: &VaultReference,
        known: Option<&str>,
    ) -> Result<Reading, SourceError> {
        let answer = self.0.lock().unwrap().clone();
        match answer.expect("an answer")? {
            (version, _) if known == Some(version) => Ok(Reading::Unchanged),
            (version, secret) => Ok(Reading::Secret {
                version: version.into(),
                secret: secret.as_bytes().to_vec().into(),
            }),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_vault_secret_stays_usable_in_an_outage_but_not_after_its_deletion() {
    let vault = Arc::new(ScriptedVault::default());
    vault.set(Ok(("1", "sk-canary-vault-first")));
    let reference = "vault:kv/teams/acme#api_key".parse().unwrap();
    let declared = open(vec![declared("main", reference)], Some(vault.clone()));
    declared.follow().await;
    assert_eq!(
        secret_of(&resolve(&declared, None).unwrap()),
        b"sk-canary-vault-first"
    );

    vault.set(Err(SourceError::Unavailable("sealed".into())));
    until(|| declared.source_health()[0].fault.is_some()).await;
    assert!(resolve(&declared, None).is_ok(), "warm keys serve");
    vault.set(Ok(("2", "sk-canary-vault-second")));
    until(|| declared.source_health()[0].fault.is_none()).await;
    assert_eq!(
        secret_of(&resolve(&declared, None).unwrap()),
        b"sk-canary-vault-second"
    );
    vault.set(Err(SourceError::Gone("404".into())));
    until(|| resolve(&declared, None).is_err()).await;
    assert_eq!(resolve(&declared, None).unwrap_err(), Refusal::SecretGone);
}

#[test]
fn a_declared_credential_has_the_same_id_in_every_process() {
    let id = || id_of("acme", "openai", "main");
    assert_eq!(id(), id());
    assert_ne!(id(), id_of("acme", "openai", "other"));
    assert_ne!(id_of("ab", "c", "d"), id_of("a", "bc", "d"));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_created_slowly_is_used_once_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let declared = open(vec![declared("main", file(&path))], None);
    declared.follow().await;
    assert_eq!(resolve(&declared, None).unwrap_err(), Refusal::SecretGone);
    let whole = "sk-canary-declared-slowly";
    for end in 1..=whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        // Virtual time, and shorter than that between two reads.
        tokio::time::sleep(Duration::from_millis(50)).await;
        if let Ok(grant) = resolve(&declared, None) {
            assert_eq!(secret_of(&grant), whole.as_bytes());
        }
    }
    until(|| resolve(&declared, None).is_ok()).await;
    assert_eq!(
        secret_of(&resolve(&declared, None).unwrap()),
        whole.as_bytes()
    );
}

#[tokio::test]
async fn an_administrative_key_is_not_used_wherever_it_is_kept() {
    const ADMINISTRATIVE: &str = "sk-admin-canary-0123456789";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, ADMINISTRATIVE).unwrap();
    let vault = Arc::new(ScriptedVault::default());
    vault.set(Ok(("1", ADMINISTRATIVE)));
    let reference = "vault:kv/teams/acme#api_key".parse().unwrap();
    let all = vec![declared("file", file(&path)), declared("vault", reference)];
    let declared = open(all, Some(vault));
    declared.follow().await;
    for label in ["file", "vault"] {
        let refusal = resolve(&declared, Some(label)).unwrap_err();
        assert_eq!(refusal, Refusal::SecretGone);
    }
    for health in declared.source_health() {
        let fault = health.fault.unwrap();
        assert!(fault.contains("An admin key"), "{fault}");
        assert!(!fault.contains("canary"), "{fault}");
    }
}

/// A Vault that never answers.
struct HangingVault;

#[async_trait]
impl SecretSource for HangingVault {
    async fn read(
        &self,
        _reference: &VaultReference,
        _known: Option<&str>,
    ) -> Result<Reading, SourceError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn changes_of_a_file_are_picked_up_while_many_vault_reads_hang() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, "sk-canary-declared-first").unwrap();
    let many = (0..crate::source::CONCURRENT_READS + 1).map(|number| {
        let reference = format!("vault:kv/teams/acme#key_{number}");
        declared(&format!("vault-{number}"), reference.parse().unwrap())
    });
    let all = many.chain([declared("file", file(&path))]).collect();
    let declared = open(all, Some(Arc::new(HangingVault)));
    let following = declared.clone();
    tokio::spawn(async move { following.follow().await });
    let version = || resolve(&declared, Some("file")).map(|grant| grant.version());
    until(|| version() == Ok(1)).await;
    fs::write(&path, "sk-canary-declared-second").unwrap();
    until(|| version() == Ok(2)).await;
    assert_eq!(
        resolve(&declared, Some("vault-0")).unwrap_err(),
        Refusal::SecretUnavailable
    );
}
