//! Rotations of the signing key: interrupted at any write, beside a second process, and what the
//! old key can still sign afterwards.

use keyside_store::{
    PublicKey, Signer, TrustedKeys,
    chain::{Damage, Head},
    faulty::Fault,
};

use super::{
    auditing::{checked, is_unsigned, written},
    erasing, *,
};
use crate::{audit::VerifyError, kms::KmsSource};

/// `globex` with a key, and the chain of `acme`, which is erased.
async fn with_erased_workspace() -> Installation {
    let (installation, registry, _) = erasing::two_workspaces().await;
    erasing::erase(&registry).await;
    drop(registry);
    installation
}

/// With the same master key in a service that can rotate it: a master key from bytes cannot be
/// replaced.
pub(super) fn options(installation: &Installation, backend: Backend) -> OpenOptions {
    let local = Kms::local(MasterKey::parse(&[9; 32], "a test").unwrap());
    let service = KmsSource::Service(local.service());
    OpenOptions {
        kms: Kms::open(&service, &installation.keyring()).unwrap(),
        ..installation.options(backend)
    }
}

async fn open(installation: &Installation) -> Arc<Registry> {
    let options = options(installation, installation.backend());
    open_without_tasks(options).await.unwrap()
}

async fn serves(registry: &Registry) {
    let answer = opened(registry.resolver().resolve(&ask("globex")));
    assert_eq!(answer.as_deref(), Ok("sk-globex"));
    let all = registry.workspaces(&Scope::All);
    assert!(all.iter().all(|workspace| !workspace.damaged));
    registry.audit().verify().await.unwrap();
}

fn id_of(registry: &Registry) -> String {
    let key = registry.keyring.installation();
    key.installation().to_owned()
}

/// All stored heads with their chains.
fn heads(installation: &Installation) -> Vec<(ChainName, Vec<u8>)> {
    let contents = installation.memory.contents();
    let heads = contents.objects.iter().filter_map(|(key, bytes)| {
        let chain = key.strip_suffix("/head")?;
        Some((ChainName::of(chain), bytes.clone()))
    });
    heads.collect()
}

/// Checks that every head and every anchor is signed with `key` and with no other.
fn all_signed_with(key: &PublicKey, installation: &Installation, id: &str) {
    let heads = heads(installation);
    assert!(heads.len() >= 3);
    for (chain, stored) in heads {
        Head::verify(&stored, &chain, id, key).unwrap_or_else(|error| panic!("{chain}: {error}"));
        let anchor = chain.as_str().replace('/', ".");
        let anchor = fs::read(installation.heads().join(anchor)).unwrap();
        Head::verify(&anchor, &chain, id, key).unwrap_or_else(|error| panic!("{chain}: {error}"));
    }
}

async fn add(registry: &Arc<Registry>, label: &str) {
    let new = NewCredential {
        workspace: "globex".parse().unwrap(),
        ..key(label, &format!("sk-{label}"))
    };
    registry.add(&act(), new).await.unwrap();
}

async fn make(registry: &Arc<Registry>, id: &str) {
    let made = registry.create_workspace(&act(), workspace(id)).await;
    made.unwrap();
}

#[tokio::test]
async fn a_rotation_signs_every_chain_with_the_new_key_and_is_audited() {
    let installation = with_erased_workspace().await;
    let registry = open(&installation).await;
    let old = registry.audit().public_key();
    let start = seen(&registry).await;
    let rotated = registry.rotate_master_key(&act()).await.unwrap();
    // The new signing key, the installation's own key, and that of globex.
    assert_eq!((rotated.keys, rotated.warning), (3, None));
    let new = registry.audit().public_key();
    assert_ne!(new, old);
    all_signed_with(&new, &installation, &id_of(&registry));
    let recorded = since(&registry, &start).await;
    let recorded: Vec<_> = recorded
        .iter()
        .map(|it| (it.event, it.note.clone()))
        .collect();
    assert_eq!(
        recorded,
        [
            (Event::MasterKeyRotated, Some(rotated.master_key)),
            (Event::SigningKeyRotated, Some(new.to_string())),
        ]
    );
    serves(&registry).await;
    add(&registry, "b").await;
    drop(registry);
    let registry = open(&installation).await;
    serves(&registry).await;
    assert_eq!(registry.audit().public_key(), new);
    let keyring = fs::read_to_string(installation.keyring()).unwrap();
    assert!(keyring.contains(&new.to_string()) && !keyring.contains(&old.to_string()));
    assert!(!keyring.contains("successors"), "{keyring}");
    // The id of the erased workspace can be used again.
    make(&registry, "acme").await;
    let again = registry.rotate_master_key(&act()).await;
    again.unwrap();
    assert_ne!(registry.audit().public_key(), new);
    serves(&registry).await;
}

#[tokio::test]
async fn a_head_signed_with_the_old_key_after_a_rotation_is_refused_in_every_chain() {
    let installation = with_erased_workspace().await;
    let before = heads(&installation);
    let registry = open(&installation).await;
    let id = id_of(&registry);
    let old = registry.keyring.signer().unwrap();
    registry.rotate_master_key(&act()).await.unwrap();
    assert_ne!(registry.audit().public_key(), old.public());
    for (chain, older) in before {
        let at = chain.head_key();
        let pristine = installation.stored(&at);
        // A later head than the current one, by an attacker who has the old key.
        let forged = {
            let mut head = Head::parse_unverified(&pristine).unwrap();
            head.seq += 1;
            head.sign(&chain, &id, &*old)
        };
        for put in [&forged, &older] {
            installation.put(&at, put);
            match registry.audit().verify().await {
                Err(VerifyError::Broken(found)) => {
                    assert_eq!(found.chain, chain);
                    assert!(found.finding.contains("not signed"), "{found}");
                }
                other => panic!("{chain}: {other:?}"),
            }
            let opened = open_without_tasks(options(&installation, installation.backend())).await;
            match (chain.workspace_id(), opened) {
                (None, Err(OpenError::Damaged { damage, .. })) => {
                    assert_eq!(damage, Damage::HeadForged);
                }
                (None, _) => panic!("the installation's chain is believed"),
                (Some("globex"), Ok(opened)) => {
                    let globex = "globex".parse().unwrap();
                    assert!(opened.workspace(&globex).unwrap().damaged);
                }
                (Some(_), opened) => assert!(opened.unwrap().audit().verify().await.is_err()),
            }
        }
        installation.put(&at, &pristine);
        serves(&registry).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_interrupted_at_any_write_is_completed_at_the_start_or_not_begun() {
    let prepared = with_erased_workspace().await;
    for fault in [Fault::Refused, Fault::AnswerLost] {
        for at in 1.. {
            let context = format!("write {at}: {fault:?}");
            let installation = prepared.copy();
            let storage = Arc::new(Faulty::new(installation.backend()));
            let registry = open_without_tasks(options(&installation, storage.backend())).await;
            let registry = registry.unwrap();
            let (old, id) = (registry.audit().public_key(), id_of(&registry));
            storage.fail(at, usize::MAX, fault);
            let outcome = registry.rotate_master_key(&act()).await;
            let reached = storage.heal();
            if registry.keyring.public_key() == old {
                // A power cut may lose the anchors until the old key is destroyed.
                installation.put_back_anchors(&prepared);
            }
            drop(registry);
            let registry = open(&installation).await;
            serves(&registry).await;
            let new = registry.audit().public_key();
            all_signed_with(&new, &installation, &id);
            let records = records(&registry).await;
            let announced = records
                .iter()
                .any(|it| it.event == Event::SigningKeyRotated);
            assert_eq!(announced, new != old, "{context}");
            registry.rotate_master_key(&act()).await.unwrap();
            assert_ne!(registry.audit().public_key(), new, "{context}");
            serves(&registry).await;
            if !reached {
                outcome.unwrap_or_else(|error| panic!("{context}: {error}"));
                assert!(announced && at > WRITES, "{context}");
                break;
            }
        }
    }
}

/// The least number of writes: three chains, each with a record, the head, and the sync.
const WRITES: usize = 9;

#[tokio::test]
async fn a_successor_left_by_an_interrupted_rotation_is_never_used() {
    let installation = with_erased_workspace().await;
    let registry = open(&installation).await;
    let old = registry.audit().public_key();
    let left = registry.keyring.add_successor().await.unwrap();
    drop(registry);
    let registry = open(&installation).await;
    assert_eq!(registry.audit().public_key(), old);
    let trust = registry.keyring.trust();
    assert_eq!(trust, TrustedKeys::from(old), "a start forgets it");
    let keyring = fs::read_to_string(installation.keyring()).unwrap();
    assert!(!keyring.contains("successors"), "{keyring}");
    registry.rotate_master_key(&act()).await.unwrap();
    let new = registry.audit().public_key();
    assert!(new != old && new != left);
    let trust = registry.keyring.trust();
    assert_eq!(
        trust,
        TrustedKeys::from(new),
        "the one that was left is forgotten"
    );
    all_signed_with(&new, &installation, &id_of(&registry));
}

#[tokio::test]
async fn a_second_authority_commits_at_every_step_with_the_right_key() {
    let installation = with_erased_workspace().await;
    let (one, other) = (open(&installation).await, open(&installation).await);
    let to = one.announce_keys(&act()).await.unwrap();
    add(&other, "announced").await;
    make(&other, "announced").await;
    one.adopt_signing_key(&to.signing_key).await.unwrap();
    add(&other, "gone-over").await;
    make(&other, "gone-over").await;
    let now = one.clock.now();
    let successor = Some(&to.signing_key);
    let rewrapped = one.keyring.rewrap(&to.master_key, successor, now);
    rewrapped.await.unwrap();
    add(&other, "rewrapped").await;
    make(&other, "rewrapped").await;
    for (n, registry) in [&one, &other].into_iter().enumerate() {
        registry.catch_up().await.unwrap();
        serves(registry).await;
        let trust = registry.keyring.trust();
        assert_eq!(trust, TrustedKeys::from(to.signing_key));
        add(registry, &format!("after-{n}")).await;
    }
    all_signed_with(&to.signing_key, &installation, &id_of(&one));
}

#[tokio::test]
async fn a_second_authority_that_was_idle_during_a_rotation_continues() {
    let installation = with_erased_workspace().await;
    let (one, other) = (open(&installation).await, open(&installation).await);
    one.rotate_master_key(&act()).await.unwrap();
    let new = one.audit().public_key();
    add(&other, "b").await;
    make(&other, "initech").await;
    serves(&other).await;
    assert_eq!(other.audit().public_key(), new);
    all_signed_with(&new, &installation, &id_of(&other));
    // The same with the roles exchanged.
    other.rotate_master_key(&act()).await.unwrap();
    add(&one, "c").await;
    serves(&one).await;
    assert_eq!(one.audit().public_key(), other.audit().public_key());
}

#[tokio::test]
async fn a_read_only_process_follows_a_rotation() {
    let installation = with_erased_workspace().await;
    let one = open(&installation).await;
    let reader = Registry::open_to_read(options(&installation, installation.backend())).await;
    let reader = reader.unwrap();
    let to = one.announce_keys(&act()).await.unwrap();
    one.adopt_signing_key(&to.signing_key).await.unwrap();
    reader.catch_up().await.unwrap();
    serves(&reader).await;
    one.settle_keys().await.unwrap();
    add(&one, "b").await;
    reader.catch_up().await.unwrap();
    serves(&reader).await;
    assert_eq!(reader.list(&Filter::default()).len(), 2);
    assert!(reader.keyring.signer().is_none());
    assert_eq!(reader.audit().public_key(), to.signing_key);
}

/// Otherwise a damaged workspace would keep a stolen key trusted.
#[tokio::test]
async fn a_damaged_workspace_does_not_keep_the_old_key_trusted() {
    let installation = with_erased_workspace().await;
    let older = installation.memory.copy();
    let registry = open(&installation).await;
    make(&registry, "initech").await;
    add(&registry, "b").await;
    installation.put_back("workspace/globex", &older);
    let old = registry.audit().public_key();
    registry.rotate_master_key(&act()).await.unwrap();
    assert_ne!(registry.audit().public_key(), old);
    drop(registry);
    let registry = open(&installation).await;
    let is_damaged = |id: &str| {
        let workspace = registry.workspace(&id.parse().unwrap());
        workspace.unwrap().damaged
    };
    assert!(is_damaged("globex") && !is_damaged("initech"));
}

/// An installation in which only the anchor of `globex` is missing, with its path and contents.
async fn without_anchor() -> (Installation, PathBuf, Vec<u8>) {
    let installation = with_erased_workspace().await;
    let registry = open(&installation).await;
    registry.link(true).await;
    drop(registry);
    let anchor = installation.heads().join("workspace.globex");
    let kept = fs::read(&anchor).unwrap();
    fs::remove_file(&anchor).unwrap();
    (installation, anchor, kept)
}

fn names_the_anchor(refused: Result<crate::Rewrapped, ChangeError>, anchor: &Path) {
    match refused {
        Err(ChangeError::AnchorsDamaged(files)) => assert_eq!(files, [anchor]),
        other => panic!("{other:?}"),
    }
}

/// If it were put back after a rotation, the key that signed it would be refused.
#[tokio::test]
async fn a_rotation_is_refused_until_a_missing_anchor_is_restored_or_its_workspace_erased() {
    let (installation, anchor, kept) = without_anchor().await;
    let registry = open(&installation).await;
    let old = registry.audit().public_key();
    names_the_anchor(registry.rotate_master_key(&act()).await, &anchor);
    assert_eq!(registry.keyring.trust(), TrustedKeys::from(old));
    drop(registry);
    fs::write(&anchor, kept).unwrap();
    let registry = open(&installation).await;
    registry.rotate_master_key(&act()).await.unwrap();
    serves(&registry).await;
    let new = registry.audit().public_key();
    assert_ne!(new, old);
    drop(registry);
    fs::remove_file(&anchor).unwrap();
    let registry = open(&installation).await;
    names_the_anchor(registry.rotate_master_key(&act()).await, &anchor);
    let globex: WorkspaceId = "globex".parse().unwrap();
    let erased = registry.erase_workspace(&act(), &globex, None).await;
    erased.unwrap();
    registry.rotate_master_key(&act()).await.unwrap();
    assert_ne!(registry.audit().public_key(), new);
}

#[tokio::test]
async fn a_start_that_completes_a_rotation_trusts_the_old_key_until_a_missing_anchor_is_restored() {
    let (installation, anchor, kept) = without_anchor().await;
    fs::write(&anchor, &kept).unwrap();
    let registry = open(&installation).await;
    let old = registry.audit().public_key();
    let to = registry.announce_keys(&act()).await.unwrap();
    drop(registry);
    fs::remove_file(&anchor).unwrap();
    let registry = open(&installation).await;
    assert_eq!(registry.keyring.public_key(), old);
    names_the_anchor(registry.rotate_master_key(&act()).await, &anchor);
    drop(registry);
    fs::write(&anchor, kept).unwrap();
    let registry = open(&installation).await;
    serves(&registry).await;
    let new = to.signing_key;
    assert_eq!(registry.keyring.trust(), TrustedKeys::from(new));
    all_signed_with(&new, &installation, &id_of(&registry));
}

#[tokio::test]
async fn a_receipt_from_before_a_rotation_is_confirmed_and_can_be_issued_under_the_new_key() {
    let (installation, registry, _) = erasing::two_workspaces().await;
    let before = erasing::erase(&registry).await;
    drop(registry);
    let registry = open(&installation).await;
    let old = registry.audit().public_key();
    registry.rotate_master_key(&act()).await.unwrap();
    let after = erasing::erase(&registry).await;
    assert_eq!((before.public_key, &before.id), (old, &after.id));
    assert!(before.is_signed_by(&old) && !before.is_signed_by(&after.public_key));
    assert!(after.is_signed_by(&registry.audit().public_key()));
    for receipt in [before, after] {
        registry.audit().confirm(&receipt).await.unwrap();
    }
}

/// The first export shows how far each chain had come; the second continues from there, and
/// contains the record of the new key.
#[tokio::test]
async fn an_auditor_follows_a_rotation_from_one_export_to_the_next() {
    let installation = with_erased_workspace().await;
    let registry = open(&installation).await;
    let old = registry.audit().public_key();
    let before = written(&registry, AuditFilter::default()).await;
    registry.rotate_master_key(&act()).await.unwrap();
    let new = registry.audit().public_key();
    let after = written(&registry, AuditFilter::default()).await;
    checked(&before, &old).unwrap();
    checked(&after, &new).unwrap();
    for (file, other) in [(&before, &new), (&after, &old)] {
        let error = checked(file, other).unwrap_err();
        assert!(is_unsigned(&error), "{error}");
    }
    let lines: Vec<_> = after.lines().collect();
    let records = before.lines().filter(|line| !line.contains("\"end\""));
    for record in records {
        assert!(lines.contains(&record), "{record}");
    }
    let announced = lines
        .iter()
        .filter(|line| line.contains("signing_key_rotated"));
    let announced: Vec<_> = announced.collect();
    assert_eq!(announced.len(), 1);
    assert!(announced[0].contains(&new.to_string()));
    let mut export = registry.audit().export(AuditFilter::default(), None);
    while let Some(lines) = export.next().await.unwrap() {
        for line in lines {
            if let Line::End { public_key, .. } = line {
                assert_eq!(public_key, new);
            }
        }
    }
}

/// A keyring from before the rotation could not be put back afterwards.
#[tokio::test]
async fn a_workspace_whose_key_is_lost_fails_verification_and_blocks_a_rotation() {
    let (installation, registry) = Installation::with_acme().await;
    let older = fs::read(installation.keyring()).unwrap();
    let created = registry.create_workspace(&act(), workspace("globex")).await;
    created.unwrap();
    registry.audit().verify().await.unwrap();
    drop(registry);
    let newest = fs::read(installation.keyring()).unwrap();
    fs::write(installation.keyring(), older).unwrap();
    let registry = open(&installation).await;
    match registry.audit().verify().await {
        Err(VerifyError::Broken(found)) => {
            assert_eq!(found.chain.as_str(), "workspace/globex", "{found}");
        }
        other => panic!("{other:?}"),
    }
    match registry.rotate_master_key(&act()).await {
        Err(ChangeError::KeysLost(workspaces)) => {
            let globex: WorkspaceId = "globex".parse().unwrap();
            assert_eq!(workspaces, [globex]);
        }
        other => panic!("{other:?}"),
    }
    drop(registry);
    fs::write(installation.keyring(), newest).unwrap();
    let registry = open(&installation).await;
    registry.audit().verify().await.unwrap();
    registry.rotate_master_key(&act()).await.unwrap();
}
