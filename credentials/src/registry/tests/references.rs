//! Stored credentials whose secrets stay in Vault.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use async_trait::async_trait;
use keyside_config::{AllowedReferences, Sources, VaultReference};

use super::{
    erasing::acme,
    grouping::{after_deciding, tagging},
    *,
};
use crate::source::{Reading, SecretSource, SourceError};

type Scripted = Result<(&'static str, &'static str), SourceError>;

/// A Vault whose answers the test sets.
#[derive(Default)]
pub(super) struct Vault {
    answers: Mutex<HashMap<String, Scripted>>,
}

impl Vault {
    pub(super) fn set(&self, path: &str, answer: Scripted) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }
}

#[async_trait]
impl SecretSource for Vault {
    async fn read(
        &self,
        reference: &VaultReference,
        known: Option<&str>,
    ) -> Result<Reading, SourceError> {
        let answer = self.answers.lock().unwrap().get(&reference.path).cloned();
        match answer.unwrap_or_else(|| Err(gone()))? {
            (version, _) if known == Some(version) => Ok(Reading::Unchanged),
            (version, secret) => Ok(Reading::Secret {
                version: version.into(),
                secret: secret.as_bytes().to_vec().into(),
            }),
        }
    }
}

pub(super) fn gone() -> SourceError {
    SourceError::Gone("404".into())
}

pub(super) fn away() -> SourceError {
    SourceError::Unavailable("sealed".into())
}

/// Settings that let each workspace refer to secrets in its own folder.
fn allowed() -> AllowedReferences {
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let sources = Sources {
        file: None,
        environment: [
            set("KEYSIDE_VAULT__ADDRESS", "https://vault.internal:8200"),
            set("KEYSIDE_VAULT__TOKEN_FILE", "/vault/token"),
            set("KEYSIDE_VAULT__REFERENCES__ALLOW", "kv/teams/{workspace}/"),
        ]
        .into_iter()
        .collect(),
    };
    let loaded = keyside_config::Settings::load(&sources).unwrap();
    loaded.settings.vault.unwrap().references
}

pub(super) async fn follow(registry: &Arc<Registry>, vault: &Arc<Vault>) {
    follow_within(registry, vault, allowed()).await;
}

async fn follow_within(registry: &Arc<Registry>, vault: &Arc<Vault>, allowed: AllowedReferences) {
    let options = ReferenceOptions {
        vault: Some(vault.clone()),
        poll: Duration::from_secs(30),
        outage: Duration::from_secs(900),
        allowed,
    };
    registry.follow_references(options).await;
}

fn referring(label: &str, path: &str) -> NewCredential {
    let reference = VaultReference::new(None, path, "api_key", None).unwrap();
    NewCredential {
        secret: NewSecret::InVault(reference),
        ..key(label, "unused")
    }
}

const PATH: &str = "kv/teams/acme/openai";

/// One credential whose secret is at [`PATH`].
async fn one_reference() -> (Installation, Arc<Registry>, Arc<Vault>, CredentialId) {
    let (installation, registry) = Installation::with_acme().await;
    let vault = Arc::new(Vault::default());
    vault.set(PATH, Ok(("1", "sk-canary-reference-first")));
    follow(&registry, &vault).await;
    let saved = registry.add(&act(), referring("default", PATH)).await;
    let id = saved.unwrap().credential.id;
    (installation, registry, vault, id)
}

fn used(registry: &Registry) -> Result<String, Refusal> {
    opened(registry.resolver().resolve(&ask("acme")))
}

#[tokio::test]
async fn a_reference_is_used_at_once_and_its_secret_is_never_stored() {
    let (installation, registry, _vault, id) = one_reference().await;
    assert_eq!(used(&registry).unwrap(), "sk-canary-reference-first");
    let credential = registry.credential(&id).unwrap();
    let declared = credential.declared.unwrap();
    assert_eq!(declared.source, format!("vault:{PATH}#api_key"));
    assert_eq!(declared.version.as_deref(), Some("1"));
    assert!(credential.fingerprint.is_some());
    assert_eq!(credential.reference.unwrap().path, PATH);
    assert_eq!(sealed_versions(&installation), 0);
    let records = records(&registry).await;
    let created = records.last().unwrap();
    assert_eq!(created.event, Event::CredentialCreated);
    assert_eq!(created.note, Some(format!("vault:{PATH}#api_key")));
}

#[tokio::test(start_paused = true)]
async fn a_new_version_is_picked_up_and_the_previous_one_stays_masked() {
    let (_installation, registry, vault, id) = one_reference().await;
    vault.set(PATH, Ok(("2", "sk-canary-reference-second")));
    tokio::time::timeout(Duration::from_secs(60), async {
        while used(&registry).unwrap() != "sk-canary-reference-second" {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await
    .expect("it is followed");
    let grant = registry.resolver().resolve(&ask("acme")).unwrap();
    let others = grant.open_others(|| jiff::Timestamp::from_second(NOW).unwrap());
    assert_eq!(others.len(), 1);
    assert_eq!(others[0].expose(), b"sk-canary-reference-first");
    let credential = registry.credential(&id).unwrap();
    assert_eq!(credential.declared.unwrap().version.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_refresh_reads_at_once_and_keeps_the_secret_in_an_outage_but_not_after_a_deletion() {
    let (_installation, registry, vault, id) = one_reference().await;
    vault.set(PATH, Ok(("2", "sk-canary-reference-second")));
    let refreshed = registry.refresh(&id).await.unwrap();
    assert_eq!(refreshed.declared.unwrap().version.as_deref(), Some("2"));
    assert_eq!(used(&registry).unwrap(), "sk-canary-reference-second");

    vault.set(PATH, Err(away()));
    let refreshed = registry.refresh(&id).await.unwrap();
    assert_eq!(refreshed.declared.unwrap().fault.as_deref(), Some("sealed"));
    assert!(used(&registry).is_ok(), "warm keys serve");

    vault.set(PATH, Err(gone()));
    registry.refresh(&id).await.unwrap();
    assert_eq!(used(&registry).unwrap_err(), Refusal::SecretGone);
    let health = &registry.reference_health()[0];
    assert!(!health.usable && !health.unknown);

    vault.set(PATH, Ok(("2", "sk-canary-reference-second")));
    registry.refresh(&id).await.unwrap();
    assert!(used(&registry).is_ok());
}

#[tokio::test]
async fn a_deleted_secret_is_not_brought_back_by_a_change_that_was_decided_before() {
    let (_installation, registry, vault, id) = one_reference().await;
    let begin = || tagging(&registry, &id, "a tag");
    let (tagged, lock) = after_deciding(&registry, begin).await;
    vault.set(PATH, Err(gone()));
    let (of, wanted) = (registry.clone(), id.clone());
    let refreshed = tokio::spawn(async move { of.refresh(&wanted).await.map(drop) });
    let_all_wait().await;
    drop(lock);
    tagged.await.unwrap().unwrap();
    refreshed.await.unwrap().unwrap();
    assert_eq!(used(&registry).unwrap_err(), Refusal::SecretGone);
    let tagged = registry.credential(&id).unwrap();
    assert_eq!(tagged.usage_tag, Some("a tag".parse().unwrap()));
}

/// The reader has loaded the documents of a later state when the secret is deleted, and publishes
/// them afterwards.
#[tokio::test]
async fn a_deleted_secret_is_not_brought_back_by_a_slow_reader_of_a_later_state() {
    let (installation, registry, vault, id) = one_reference().await;
    drop(registry);
    let (storage, registry) = installation.open_faulty().await;
    follow(&registry, &vault).await;
    assert!(used(&registry).is_ok());
    let other = installation.open().await;
    tagging(&other, &id, "a tag").await.unwrap().unwrap();
    let tracked = registry.chains.of(&acme());
    registry.chains.refresh(&tracked).await.unwrap();
    let held = storage.objects.hold();
    let of = registry.clone();
    let reading = tokio::spawn(async move { of.catch_up().await });
    storage.objects.arrived(1).await;
    vault.set(PATH, Err(gone()));
    let (of, wanted) = (registry.clone(), id.clone());
    let refreshed = tokio::spawn(async move { of.refresh(&wanted).await.map(drop) });
    let_all_wait().await;
    assert_eq!(used(&registry).unwrap_err(), Refusal::SecretGone);
    drop(held);
    reading.await.unwrap().unwrap();
    refreshed.await.unwrap().unwrap();
    assert_eq!(used(&registry).unwrap_err(), Refusal::SecretGone);
    let tagged = registry.credential(&id).unwrap();
    assert_eq!(tagged.usage_tag, Some("a tag".parse().unwrap()));
}

#[tokio::test]
async fn a_reference_is_refused_after_a_restart_until_it_is_read() {
    let (installation, registry, vault, id) = one_reference().await;
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(used(&registry).unwrap_err(), Refusal::SecretUnavailable);
    assert!(!registry.credential(&id).unwrap().damaged);
    follow(&registry, &vault).await;
    assert_eq!(used(&registry).unwrap(), "sk-canary-reference-first");
}

#[tokio::test]
async fn a_reference_cannot_be_rotated_in_keyside() {
    let (_installation, registry, _vault, id) = one_reference().await;
    let rotated = registry.rotate(&act(), &id, to("another")).await;
    assert!(matches!(rotated, Err(ChangeError::KeptInVault { .. })));
    let back = registry.roll_back(&act(), &id, Rollback::default()).await;
    assert!(matches!(back, Err(ChangeError::KeptInVault { .. })));
    let sealed = registry.add(&act(), key("sealed", "second")).await.unwrap();
    let refreshed = registry.refresh(&sealed.credential.id).await;
    assert!(matches!(refreshed, Err(ChangeError::NotKeptInVault)));
}

#[tokio::test]
async fn a_reference_can_be_edited_and_revoked_while_vault_is_unavailable() {
    let (_installation, registry, vault, id) = one_reference().await;
    let edit = Edit {
        usage_tag: Some(Some("ci".parse().unwrap())),
        ..Edit::default()
    };
    registry.edit(&act(), &id, edit).await.unwrap();
    assert_eq!(used(&registry).unwrap(), "sk-canary-reference-first");
    registry
        .rotate_workspace_key(&act(), &"acme".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(used(&registry).unwrap(), "sk-canary-reference-first");
    vault.set(PATH, Err(gone()));
    registry.refresh(&id).await.unwrap();
    let revoked = registry.revoke(&act(), &id, Revocation::default()).await;
    assert!(revoked.unwrap().declared.is_none());
    assert_eq!(used(&registry).unwrap_err(), Refusal::CredentialRevoked);
    let refreshed = registry.refresh(&id).await;
    assert!(matches!(refreshed, Err(ChangeError::Revoked)));
}

#[tokio::test]
async fn a_path_that_the_settings_do_not_allow_is_never_read_from_vault() {
    let (_installation, registry, vault, _id) = one_reference().await;
    let foreign = "kv/teams/globex/openai";
    vault.set(foreign, Ok(("1", "sk-canary-of-somebody-else")));
    let error = registry
        .add(&act(), referring("other", foreign))
        .await
        .unwrap_err();
    assert!(matches!(error, ChangeError::ReferenceNotAllowed { .. }));
    let message = error.to_string();
    assert!(message.contains("vault.references.allow"), "{message}");
    assert!(message.contains("kv/teams/acme/"), "{message}");

    let (_installation, registry) = Installation::with_acme().await;
    let error = registry.add(&act(), referring("default", PATH)).await;
    let message = error.unwrap_err().to_string();
    assert!(message.contains("permits no paths"), "{message}");
}

#[tokio::test]
async fn a_reference_that_the_settings_no_longer_allow_is_refused_after_a_restart() {
    let (installation, registry, vault, id) = one_reference().await;
    drop(registry);
    let registry = installation.open().await;
    follow_within(&registry, &vault, AllowedReferences::default()).await;
    assert_eq!(used(&registry).unwrap_err(), Refusal::SecretGone);
    let credential = registry.credential(&id).unwrap();
    let fault = credential.declared.unwrap().fault.unwrap();
    assert!(fault.contains("vault.references.allow"), "{fault}");
    assert!(fault.contains(PATH), "{fault}");
}

#[tokio::test]
async fn a_reference_to_an_unreadable_or_unusable_secret_is_not_created() {
    let (_installation, registry, vault, _id) = one_reference().await;
    let path = "kv/teams/acme/other";
    let by = act();
    let add = || registry.add(&by, referring("other", path));
    assert!(matches!(
        add().await,
        Err(ChangeError::ReferenceRefused { .. })
    ));
    vault.set(path, Err(away()));
    assert!(matches!(add().await, Err(ChangeError::SecretUnread { .. })));
    vault.set(path, Ok(("1", "sk-admin-canary-0123456789")));
    assert!(matches!(
        add().await,
        Err(ChangeError::SecretOfOtherKind { .. })
    ));
    assert_eq!(registry.list(&Filter::default()).len(), 1);
}

#[tokio::test]
async fn duplicates_are_found_among_stored_secrets_and_references() {
    let (_installation, registry, vault, id) = one_reference().await;
    let sealed = key("sealed", "sk-canary-reference-second");
    let sealed = registry.add(&act(), sealed).await.unwrap().credential.id;
    assert!(registry.duplicates(&sealed).is_empty());
    vault.set(PATH, Ok(("2", "sk-canary-reference-second")));
    registry.refresh(&id).await.unwrap();
    let duplicates = registry.duplicates(&sealed);
    assert_eq!(duplicates.len(), 1);
    assert_eq!(duplicates[0].id, id);
}

/// The audit records about the secret in Vault, oldest first.
pub(super) async fn recorded(registry: &Registry) -> Vec<(Event, String)> {
    let records = records(registry).await;
    let recorded = records.into_iter().filter(|record| {
        let event = record.event;
        event == Event::CredentialSourceChanged || event == Event::CredentialSourceLost
    });
    recorded
        .map(|record| (record.event, record.note.unwrap()))
        .collect()
}

fn version(number: u32) -> (Event, String) {
    let note = format!("vault:{PATH}#api_key, version {number}");
    (Event::CredentialSourceChanged, note)
}

#[tokio::test]
async fn each_used_version_and_the_loss_of_its_source_are_audited_once() {
    let (_installation, registry, vault, id) = one_reference().await;
    assert!(recorded(&registry).await.is_empty(), "its creation is");
    let look = || async { registry.refresh(&id).await.unwrap() };
    vault.set(PATH, Ok(("2", "sk-canary-reference-second")));
    look().await;
    look().await;
    vault.set(PATH, Err(away()));
    look().await;
    assert_eq!(recorded(&registry).await, [version(2)]);
    let records = records(&registry).await;
    let changed = records.last().unwrap();
    assert_eq!(changed.actor, ActorId::system());
    assert_eq!(changed.credential.as_ref(), Some(&id));
    assert_eq!(changed.provider.as_deref(), Some("openai"));
    let shown = registry.credential(&id).unwrap();
    assert!(changed.fingerprint.is_some() && changed.fingerprint == shown.fingerprint);

    vault.set(PATH, Err(gone()));
    look().await;
    look().await;
    let lost = recorded(&registry).await.split_off(1);
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].0, Event::CredentialSourceLost);
    assert_eq!(lost[0].1, format!("vault:{PATH}#api_key: 404"));

    vault.set(PATH, Ok(("2", "sk-canary-reference-second")));
    look().await;
    assert_eq!(
        recorded(&registry).await[2..],
        [version(2)],
        "it is used again"
    );
    registry.audit().verify().await.unwrap();
}

#[tokio::test]
async fn a_restart_audits_only_changes_since_the_last_process() {
    let (installation, mut registry, vault, _id) = one_reference().await;
    let mut expected = Vec::new();
    for (answer, news) in [
        (Ok(("1", "sk-canary-reference-first")), None),
        // As with KV version 1, which has no version numbers: each process makes up its own.
        (Ok(("a1b2", "sk-canary-reference-first")), None),
        (Ok(("2", "sk-canary-reference-second")), Some(version(2))),
        (Ok(("2", "sk-canary-reference-second")), None),
        (
            Err(gone()),
            Some((
                Event::CredentialSourceLost,
                format!("vault:{PATH}#api_key: 404"),
            )),
        ),
        (Err(gone()), None),
        (Err(away()), None),
        (Ok(("2", "sk-canary-reference-second")), Some(version(2))),
    ] {
        drop(registry);
        registry = installation.open().await;
        vault.set(PATH, answer);
        follow(&registry, &vault).await;
        expected.extend(news);
        assert_eq!(recorded(&registry).await, expected);
    }
}

#[tokio::test]
async fn a_revoked_reference_is_no_longer_audited() {
    let (_installation, registry, vault, id) = one_reference().await;
    registry
        .revoke(&act(), &id, Revocation::default())
        .await
        .unwrap();
    vault.set(PATH, Ok(("2", "sk-canary-reference-second")));
    assert!(registry.refresh(&id).await.is_err());
    assert!(recorded(&registry).await.is_empty());
}
