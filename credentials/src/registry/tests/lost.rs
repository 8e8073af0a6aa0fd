//! Credentials whose documents are missing, truncated, or replaced by others: they are listed with
//! what their workspace's map says about them, refused, audited, and can be revoked by id.

use keyside_store::Hash;

use super::{
    erasing::{acme, erase},
    tampering::{answers, two_workspaces},
    workspace_key::{edit_keys, switch_key},
    *,
};
use crate::{
    DamageCounts,
    model::{Listed, LostCredential, Status},
};

/// An edit of the stored document of the first of three credentials.
type Fault = fn(&Installation, &str, &[CredentialId; 3]);

const FAULTS: [(&str, Fault); 4] = [
    ("deleted", |installation, at, _| installation.remove(at)),
    ("cut in half", |installation, at, _| {
        installation.tamper(at, |object| object.truncate(object.len() / 2));
    }),
    ("cut to less than a salt", |installation, at, _| {
        installation.tamper(at, |object| object.truncate(3));
    }),
    ("another one's in its place", |installation, at, ids| {
        let other = installation.stored_credential(&ids[1]);
        let other = installation.stored(&other);
        installation.put(at, &other);
    }),
];

/// Acme's default `a` after a fault, with the storage key and contents of its document before.
struct Loss {
    installation: Installation,
    ids: [CredentialId; 3],
    at: String,
    record: Vec<u8>,
}

impl Loss {
    async fn by(fault: Fault) -> Self {
        let (installation, ids) = two_workspaces().await;
        let at = installation.stored_credential(&ids[0]);
        let record = installation.stored(&at);
        fault(&installation, &at, &ids);
        Self {
            installation,
            ids,
            at,
            record,
        }
    }

    fn put_back(&self) {
        self.installation.put(&self.at, &self.record);
    }

    /// The credential as it is listed.
    fn lost(&self, registry: &Registry) -> LostCredential {
        match registry.find(&self.ids[0]) {
            Some(Listed::Lost(lost)) => lost,
            other => panic!("not lost: {other:?}"),
        }
    }
}

fn ids(listed: &[Listed]) -> Vec<&CredentialId> {
    listed.iter().map(Listed::id).collect()
}

#[tokio::test]
async fn a_lost_credential_is_listed_refused_and_audited_once() {
    for (what, fault) in FAULTS {
        let loss = Loss::by(fault).await;
        let [a, b, globex] = &loss.ids;
        for _ in 0..2 {
            let registry = loss.installation.open().await;
            let expected = LostCredential {
                id: a.clone(),
                workspace: acme(),
                is_revoked: false,
                is_default: true,
                last_used_at: None,
                revision: 1,
            };
            assert_eq!(loss.lost(&registry), expected, "{what}");
            let all = registry.list_all(&Filter::default());
            assert_eq!(ids(&all), [b, a, globex], "{what}");
            let undecryptable = Err(Refusal::CredentialUndecryptable);
            let answers = answers(&registry);
            assert_eq!(answers[0], undecryptable, "{what}");
            assert_eq!(answers[1].as_deref(), Ok("sk-acme-b"), "{what}");
            assert_eq!(answers[2].as_deref(), Ok("sk-globex-a"), "{what}");
            let default = opened(registry.resolver().resolve(&ask("acme")));
            assert_eq!(default, undecryptable, "{what}");
            let recorded = records(&registry).await;
            let damages = damages(&recorded);
            assert_eq!(damages.len(), 1, "{what}");
            assert_eq!(damages[0].credential.as_ref(), Some(a), "{what}");
        }
        loss.put_back();
        let registry = loss.installation.open().await;
        assert!(!registry.credential(a).unwrap().damaged, "{what}");
        assert!(answers(&registry).iter().all(Result::is_ok), "{what}");
    }
}

#[tokio::test]
async fn a_lost_credential_matches_a_filter_only_on_known_fields() {
    let loss = Loss::by(FAULTS[0].1).await;
    let registry = loss.installation.open().await;
    let [a, b, globex] = &loss.ids;
    let all = Filter::default();
    let of_acme = Filter {
        workspace: Some(acme()),
        ..all.clone()
    };
    assert_eq!(ids(&registry.list_all(&of_acme)), [b, a]);
    let revoked = Filter {
        status: Some(Status::Revoked),
        ..all.clone()
    };
    assert!(registry.list_all(&revoked).is_empty());
    for narrower in [
        Filter {
            provider: "openai".parse().ok(),
            ..all.clone()
        },
        Filter {
            environment: Some(Environment::Live),
            ..all.clone()
        },
        Filter {
            status: Some(Status::Active),
            ..all.clone()
        },
    ] {
        assert_eq!(ids(&registry.list_all(&narrower)), [b, globex]);
    }
    let other: WorkspaceId = "globex".parse().unwrap();
    let elsewhere = Filter {
        within: Scope::Only(Arc::new([other].into())),
        ..all
    };
    assert_eq!(ids(&registry.list_all(&elsewhere)), [globex]);
    let revocation = Revocation::default();
    registry.revoke_lost(&act(), a, revocation).await.unwrap();
    assert_eq!(ids(&registry.list_all(&revoked)), [a]);
}

#[tokio::test]
async fn a_lost_credential_can_only_be_revoked_and_the_others_can_change() {
    for (what, fault) in FAULTS {
        let loss = Loss::by(fault).await;
        let [a, b, _] = &loss.ids;
        let registry = loss.installation.open().await;
        for refused in [
            registry.rotate(&act(), a, to("sk-3")).await.map(drop),
            registry
                .roll_back(&act(), a, Rollback::default())
                .await
                .map(drop),
            registry.edit(&act(), a, Edit::default()).await.map(drop),
        ] {
            assert!(matches!(refused, Err(ChangeError::Damaged)), "{what}");
        }
        let seen_another = Revocation {
            expected: Some(7),
            ..Revocation::default()
        };
        let refused = registry.revoke_lost(&act(), a, seen_another).await;
        assert!(
            matches!(refused, Err(ChangeError::Superseded(1))),
            "{what}: {refused:?}"
        );
        let before = seen(&registry).await;
        // The second revocation changes nothing.
        for _ in 0..2 {
            let revoked = registry.revoke_lost(&act(), a, Revocation::default()).await;
            let Listed::Lost(revoked) = revoked.unwrap() else {
                panic!("{what}: not lost any more");
            };
            assert_eq!((revoked.is_revoked, revoked.revision), (true, 2), "{what}");
        }
        let recorded = since(&registry, &before).await;
        assert_eq!(recorded.len(), 1, "{what}: {recorded:?}");
        assert_eq!(recorded[0].event, Event::CredentialRevoked, "{what}");
        assert_eq!(recorded[0].credential.as_ref(), Some(a), "{what}");
        assert_eq!(recorded[0].workspace, Some(acme()), "{what}");
        registry.audit().verify().await.unwrap();
        registry.rotate(&act(), b, to("sk-acme-b2")).await.unwrap();
        // The old storage key is no longer read.
        loss.put_back();
        for registry in [registry, loss.installation.open().await] {
            assert!(loss.lost(&registry).is_revoked, "{what}");
            let answers = answers(&registry);
            assert_eq!(answers[0], Err(Refusal::LabelUnknown), "{what}");
            assert_eq!(answers[1].as_deref(), Ok("sk-acme-b2"), "{what}");
            assert_eq!(answers[2].as_deref(), Ok("sk-globex-a"), "{what}");
            let default = opened(registry.resolver().resolve(&ask("acme")));
            assert_eq!(default, Err(Refusal::CredentialRevoked), "{what}");
        }
        let registry = loss.installation.open().await;
        registry.add(&act(), key("a", "sk-new")).await.unwrap();
        let default = opened(registry.resolver().resolve(&ask("acme")));
        assert_eq!(default.as_deref(), Ok("sk-new"), "{what}");
    }
}

#[tokio::test]
async fn the_label_of_a_lost_credential_can_be_taken_and_its_new_owner_keeps_it() {
    let loss = Loss::by(FAULTS[0].1).await;
    loss.installation.clock.set(NOW + DAY);
    let registry = loss.installation.open().await;
    let added = registry.add(&act(), key("a", "sk-new")).await.unwrap();
    assert_eq!(answers(&registry)[0].as_deref(), Ok("sk-new"));
    drop(registry);
    loss.put_back();
    let registry = loss.installation.open().await;
    let of_label = |it: &Credential| it.label.as_str() == "a" && it.workspace == acme();
    let listed = registry.list(&Filter::default()).into_iter();
    assert_eq!(listed.filter(of_label).count(), 2);
    assert_eq!(answers(&registry)[0].as_deref(), Ok("sk-new"));
    let revocation = Revocation::default();
    let by = act();
    let revoked = registry.revoke(&by, &added.credential.id, revocation);
    revoked.await.unwrap();
    drop(registry);
    let registry = loss.installation.open().await;
    assert_eq!(answers(&registry)[0].as_deref(), Ok("sk-acme-a"));
}

#[tokio::test]
async fn a_repeated_creation_does_not_overwrite_a_lost_credential() {
    let (installation, registry) = Installation::with_acme().await;
    let once = || NewCredential {
        idempotency: Some(Idempotency {
            key: "once".to_owned(),
            request: Hash::of(b"a request"),
        }),
        ..key("a", "sk-acme-a")
    };
    let id = registry.add(&act(), once()).await.unwrap().credential.id;
    drop(registry);
    installation.remove(&installation.stored_credential(&id));
    let registry = installation.open().await;
    let again = registry.add(&act(), once()).await;
    assert!(matches!(again, Err(ChangeError::Damaged)), "{again:?}");
    let revocation = Revocation::default();
    registry.revoke_lost(&act(), &id, revocation).await.unwrap();
    let again = registry.add(&act(), once()).await;
    assert!(matches!(again, Err(ChangeError::Damaged)), "{again:?}");
}

/// A new label would not help, as it does for a damaged record. Only a revocation needs no key.
#[tokio::test]
async fn a_workspace_without_its_key_can_only_be_revoked_in_or_erased_and_created_again() {
    let (installation, registry) = Installation::with_acme().await;
    let older = fs::read(installation.keyring()).unwrap();
    let created = registry.create_workspace(&act(), workspace("globex")).await;
    created.unwrap();
    let globex: WorkspaceId = "globex".parse().unwrap();
    let in_globex = |label: &str| NewCredential {
        workspace: globex.clone(),
        ..key(label, "sk-globex")
    };
    let stored = registry.add(&act(), in_globex("a")).await.unwrap();
    let id = stored.credential.id;
    drop(registry);
    fs::write(installation.keyring(), older).unwrap();
    let registry = installation.open().await;
    let (by, revocation) = (act(), Revocation::default());
    for refused in [
        registry.add(&by, in_globex("b")).await.map(drop),
        registry.rotate(&by, &id, to("sk-2")).await.map(drop),
        registry.rotate_workspace_key(&by, &globex).await.map(drop),
    ] {
        assert!(matches!(refused, Err(ChangeError::KeyLost)), "{refused:?}");
    }
    let revoked = registry.revoke(&by, &id, revocation).await.unwrap();
    assert_eq!(revoked.status, Status::Revoked);
    let erased = registry.erase_workspace(&by, &globex, None).await;
    erased.unwrap();
    let again = registry.create_workspace(&by, workspace("globex")).await;
    again.unwrap();
    registry.add(&by, in_globex("b")).await.unwrap();
}

/// How the wrapped key is lost that seals a credential.
const LOSSES: [fn(&mut Vec<serde_json::Value>); 2] = [
    |keys| drop(keys.remove(0)),
    |keys| keys[0]["wrapped"] = keys[1]["wrapped"].clone(),
];

/// It stays revoked when the key is back.
#[tokio::test]
async fn a_credential_whose_own_wrapped_key_is_deleted_or_damaged_can_be_revoked() {
    for lose in LOSSES {
        let (installation, registry, id) = one_key().await;
        switch_key(&registry).await;
        drop(registry);
        let whole = fs::read(installation.keyring()).unwrap();
        edit_keys(&installation, lose);
        let registry = installation.open().await;
        let resolve = |registry: &Registry| opened(registry.resolver().resolve(&ask("acme")));
        assert_eq!(resolve(&registry), Err(Refusal::CredentialUndecryptable));
        let refused = registry.rotate(&act(), &id, to("sk-2")).await;
        assert!(matches!(refused, Err(ChangeError::Damaged)), "{refused:?}");
        let before = seen(&registry).await;
        for _ in 0..2 {
            let revoked = registry.revoke(&act(), &id, Revocation::default()).await;
            let revoked = revoked.unwrap();
            assert_eq!((revoked.status, revoked.damaged), (Status::Revoked, false));
        }
        assert_eq!(resolve(&registry), Err(Refusal::CredentialRevoked));
        assert_eq!(registry.damage_counts().credentials, 0);
        registry.add(&act(), key("default", "sk-2")).await.unwrap();
        assert_eq!(resolve(&registry).unwrap(), "sk-2");
        let expected = [Event::CredentialRevoked, Event::CredentialCreated];
        assert_eq!(events(&registry, &before).await, expected);
        drop(registry);
        for keyring in [fs::read(installation.keyring()).unwrap(), whole] {
            fs::write(installation.keyring(), keyring).unwrap();
            let registry = installation.open().await;
            assert_eq!(registry.credential(&id).unwrap().status, Status::Revoked);
            assert_eq!(resolve(&registry).unwrap(), "sk-2");
        }
    }
}

#[tokio::test]
async fn a_new_workspace_key_counts_a_lost_credential_as_damaged() {
    let loss = Loss::by(FAULTS[0].1).await;
    let registry = loss.installation.open().await;
    let resealed = registry.rotate_workspace_key(&act(), &acme()).await;
    let resealed = resealed.unwrap();
    assert_eq!((resealed.credentials, resealed.damaged), (1, 1));
    assert!(!loss.lost(&registry).is_revoked);
}

#[tokio::test]
async fn a_revocation_works_in_a_workspace_whose_own_document_is_lost() {
    let (installation, [_, b, _]) = two_workspaces().await;
    let at = installation.stored_at("{\"id\":\"acme\"");
    let document = installation.stored(&at);
    installation.remove(&at);
    let registry = installation.open().await;
    assert!(registry.workspace(&acme()).unwrap().damaged);
    let revoked = registry.revoke(&act(), &b, Revocation::default()).await;
    revoked.unwrap();
    drop(registry);
    installation.put(&at, &document);
    let registry = installation.open().await;
    assert!(!registry.workspace(&acme()).unwrap().damaged);
    let [a, b, _] = answers(&registry);
    assert_eq!(a.as_deref(), Ok("sk-acme-a"));
    assert_eq!(b, Err(Refusal::CredentialRevoked));
}

#[tokio::test]
async fn a_missing_or_edited_map_page_damages_the_whole_workspace() {
    let (whole, _) = two_workspaces().await;
    let registry = whole.open().await;
    for n in 0..70 {
        let more = key(&format!("k{n}"), "sk-more");
        registry.add(&act(), more).await.unwrap();
    }
    let state = registry.chains.of(&acme()).state().unwrap();
    drop(registry);
    assert!(state.head.pages.len() > 1, "one page holds them all");
    for page in &state.head.pages {
        let at = ChainName::workspace("acme").object_key(page);
        for is_gone in [true, false] {
            let installation = whole.copy();
            match is_gone {
                true => installation.remove(&at),
                false => installation.tamper(&at, |bytes| bytes[20] ^= 1),
            }
            is_damaged_whole(&installation).await;
        }
    }
}

/// Checks that acme is refused as a whole, its damage is reported once, and it can be erased.
async fn is_damaged_whole(installation: &Installation) {
    for _ in 0..2 {
        let registry = installation.open().await;
        assert!(registry.workspace(&acme()).unwrap().damaged);
        assert_eq!(registry.damage_counts().workspaces, 1);
        let undecryptable = Err(Refusal::CredentialUndecryptable);
        let answers = answers(&registry);
        assert_eq!([&answers[0], &answers[1]], [&undecryptable, &undecryptable]);
        assert_eq!(answers[2].as_deref(), Ok("sk-globex-a"));
        let added = registry.add(&act(), key("c", "sk-c")).await;
        assert!(matches!(added, Err(ChangeError::Damaged)), "{added:?}");
        let recorded = records(&registry).await;
        let damages = damages(&recorded);
        assert_eq!(damages.len(), 1);
        assert_eq!(damages[0].workspace, Some(acme()));
        let note = damages[0].note.as_deref().unwrap();
        assert!(note.contains("a page of its map"), "{note}");
    }
    erase(&installation.open().await).await;
    let registry = installation.open().await;
    assert!(registry.workspace(&acme()).is_none());
    assert_eq!(answers(&registry)[2].as_deref(), Ok("sk-globex-a"));
}

#[tokio::test]
async fn a_second_damage_of_a_head_is_audited_beside_the_first() {
    let (installation, _) = two_workspaces().await;
    for count in [1, 2] {
        let flip = |head: &mut Vec<u8>| head[60 + count] ^= 1;
        installation.tamper("workspace/acme/head", flip);
        for _ in 0..2 {
            let registry = installation.open().await;
            let recorded = records(&registry).await;
            assert_eq!(damages(&recorded).len(), count);
        }
    }
    installation.remove("workspace/acme/head");
    let registry = installation.open().await;
    assert_eq!(damages(&records(&registry).await).len(), 3);
}

#[tokio::test]
async fn a_lost_credential_counts_as_damaged_until_it_is_revoked() {
    let loss = Loss::by(FAULTS[0].1).await;
    let registry = loss.installation.open().await;
    let one = DamageCounts {
        credentials: 1,
        ..DamageCounts::default()
    };
    assert_eq!(registry.damage_counts(), one);
    let by = act();
    let revoked = registry.revoke_lost(&by, &loss.ids[0], Revocation::default());
    revoked.await.unwrap();
    assert_eq!(registry.damage_counts(), DamageCounts::default());
}

#[tokio::test]
async fn records_of_an_erased_workspace_are_not_missing_silently() {
    let (installation, _) = two_workspaces().await;
    erase(&installation.open().await).await;
    installation.tamper("workspace/acme/head", |head| head[60] ^= 1);
    let registry = installation.open().await;
    let audit = registry.audit();
    let damaged = ChainName::workspace("acme");
    let page = audit.search(&AuditFilter::default(), None, 100).await;
    let named: Vec<_> = page
        .unwrap()
        .damaged
        .into_iter()
        .map(|it| it.chain)
        .collect();
    assert_eq!(named, std::slice::from_ref(&damaged));
    let mut export = audit.export(AuditFilter::default(), None);
    let mut missing = Vec::new();
    loop {
        match export.next().await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(ReadError::Damaged(found)) => missing.push(found.chain),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(missing, [damaged]);
}
