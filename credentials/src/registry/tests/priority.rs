//! Changes that end access overtake everything else that waits for the same chain.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::{
    erasing::{acme, two_workspaces},
    *,
};
use crate::{
    access::{CreatedToken, NewToken, Role},
    chains::Priority,
    kms::{KmsSource, tests::RemoteService},
};

type Adding = JoinHandle<Result<Saved, ChangeError>>;

/// Starts additions, which wait in this order.
async fn adding(registry: &Arc<Registry>, labels: &[&str]) -> Vec<Adding> {
    let adding = labels.iter().map(|label| {
        let (registry, new) = (registry.clone(), key(label, &format!("sk-{label}")));
        tokio::spawn(async move { registry.add(&act(), new).await })
    });
    let adding: Vec<_> = adding.collect();
    let_all_wait().await;
    adding
}

fn revoking(registry: &Arc<Registry>, id: &CredentialId) -> JoinHandle<Result<(), ChangeError>> {
    let (registry, id) = (registry.clone(), id.clone());
    tokio::spawn(async move {
        let revoked = registry.revoke(&act(), &id, Revocation::default()).await;
        revoked.map(drop)
    })
}

#[tokio::test]
async fn a_revocation_overtakes_waiting_additions() {
    let (_installation, registry, id) = one_key().await;
    let before = seen(&registry).await;
    let tracked = registry.chains.of(&acme());
    let lock = tracked.lock(Priority::Normal).await;
    let added = adding(&registry, &["a", "b", "c", "d"]).await;
    let revoked = revoking(&registry, &id);
    let_all_wait().await;
    drop(lock);
    revoked.await.unwrap().unwrap();
    for added in added {
        added.await.unwrap().unwrap();
    }
    let events = events(&registry, &before).await;
    assert_eq!(events[0], Event::CredentialRevoked);
    assert_eq!(events[1..], [Event::CredentialCreated; 4]);
    let labels: Vec<_> = since(&registry, &before)
        .await
        .into_iter()
        .skip(1)
        .map(|record| {
            let added = registry.credential(&record.credential.unwrap());
            added.unwrap().label.as_str().to_owned()
        })
        .collect();
    assert_eq!(
        labels,
        ["a", "b", "c", "d"],
        "in the order in which they came"
    );
}

#[tokio::test]
async fn a_revocation_overtakes_a_waiting_backup() {
    let (_installation, registry, id) = one_key().await;
    let before = seen(&registry).await;
    let tracked = registry.chains.of(&acme());
    let lock = tracked.lock(Priority::Normal).await;
    let added = adding(&registry, &["a", "b"]).await;
    let blocking = registry.clone();
    let alone = tokio::spawn(async move { drop(blocking.block_changes().await) });
    let_all_wait().await;
    let revoked = revoking(&registry, &id);
    let_all_wait().await;
    drop(lock);
    alone.await.unwrap();
    revoked.await.unwrap().unwrap();
    for added in added {
        added.await.unwrap().unwrap();
    }
    let events = events(&registry, &before).await;
    assert_eq!(events[0], Event::CredentialRevoked);
}

#[tokio::test]
async fn an_erasure_overtakes_waiting_additions_which_are_refused() {
    let (_installation, registry, _) = one_key().await;
    let tracked = registry.chains.of(&acme());
    let lock = tracked.lock(Priority::Normal).await;
    let added = adding(&registry, &["a"]).await;
    let of = registry.clone();
    let erased = tokio::spawn(async move { of.erase_workspace(&act(), &acme(), None).await });
    let_all_wait().await;
    drop(lock);
    erased.await.unwrap().unwrap();
    for added in added {
        let added = added.await.unwrap();
        assert!(
            matches!(added, Err(ChangeError::WorkspaceUnknown)),
            "{added:?}"
        );
    }
}

#[tokio::test]
async fn a_revocation_of_a_token_overtakes_the_tokens_own_waiting_change() {
    let (_installation, registry) = Installation::with_acme().await;
    let new = |name: &str| NewToken {
        name: name.parse().unwrap(),
        role: Role::Owner,
        scope: Scope::All,
        expires_at: None,
    };
    let robin = new("Robin");
    let made = registry.create_token(&act(), &Scope::All, robin).await;
    let CreatedToken { token, .. } = made.unwrap();
    let own = registry.chains.installation();
    let lock = own.lock(Priority::Normal).await;
    let by = ActorContext {
        actor: token.id.clone(),
        ..act()
    };
    let (of, another) = (registry.clone(), new("another"));
    let made = tokio::spawn(async move {
        let made = of.create_token(&by, &Scope::All, another).await;
        made.map(|made| made.token)
    });
    let_all_wait().await;
    let of = registry.clone();
    let revoked = tokio::spawn(async move {
        let revoked = of.revoke_token(&act(), &Scope::All, &token.id, None).await;
        revoked.map(drop)
    });
    let_all_wait().await;
    drop(lock);
    revoked.await.unwrap().unwrap();
    let made = made.await.unwrap();
    assert!(matches!(made, Err(ChangeError::AccessEnded)), "{made:?}");
}

/// The installation with a remote key service, which has the same master key.
pub(super) async fn open_with_remote_service(
    installation: &Installation,
) -> (Arc<RemoteService>, Arc<Registry>) {
    let local = Kms::local(MasterKey::parse(&[9; 32], "a test").unwrap());
    let service = Arc::new(RemoteService::of(&local));
    let source = KmsSource::Service(service.clone());
    let options = OpenOptions {
        kms: Kms::open(&source, &installation.keyring()).unwrap(),
        ..installation.options(installation.backend())
    };
    (service, open_without_tasks(options).await.unwrap())
}

#[tokio::test]
async fn no_revocation_waits_for_a_key_service_that_another_operation_asks() {
    for slow in ["create", "erase", "rotate", "back up"] {
        let (installation, registry, id) = two_workspaces().await;
        drop(registry);
        let (service, registry) = open_with_remote_service(&installation).await;
        let robin = NewToken {
            name: "Robin".parse().unwrap(),
            role: Role::Owner,
            scope: Scope::All,
            expires_at: None,
        };
        let made = registry.create_token(&act(), &Scope::All, robin).await;
        let token = made.unwrap().token.id;
        let held = service.gate.hold();
        let of = registry.clone();
        let waits = tokio::spawn(async move {
            let by = act();
            match slow {
                "create" => {
                    let made = of.create_workspace(&by, workspace("initech"));
                    made.await.map(drop)
                }
                "erase" => {
                    let globex = "globex".parse().unwrap();
                    of.erase_workspace(&by, &globex, None).await.map(drop)
                }
                "rotate" => of.rotate_master_key(&by).await.map(drop),
                _ => of.backup(&by).await.map(drop),
            }
        });
        service.gate.arrived(1).await;
        let (by, all) = (act(), Scope::All);
        let ended = async {
            let revoked = registry.revoke_token(&by, &all, &token, None).await;
            revoked.unwrap();
            let revoked = registry.revoke(&by, &id, Revocation::default()).await;
            revoked.unwrap();
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
        assert!(ended.is_ok(), "{slow}");
        drop(held);
        let done = waits.await.unwrap();
        done.unwrap_or_else(|error| panic!("{slow}: {error}"));
    }
}
