//! Several changes of one document, of which one stopped half-way: all that were acknowledged count.

use super::*;
use crate::{
    NewToken, Role, TokenStatus, WorkspaceId,
    storage::faulty::{Asked, Fault},
};

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

fn renamed(label: &str) -> Edit {
    Edit {
        label: Some(label.parse().unwrap()),
        ..Edit::default()
    }
}

/// Pending copy, record, disk: the document's own write fails, once.
const DOCUMENT: Fault = Fault {
    at: 3,
    done: false,
    for_good: false,
};

#[tokio::test]
async fn a_change_that_waited_for_one_that_stopped_half_way_is_made_on_top_of_it() {
    let (installation, registry, id) = one_key().await;
    drop(registry);
    let (storage, registry) = installation.open_faulty().await;
    let lock = registry.inner.locks.lock(&acme()).await;
    storage.watch(Some(DOCUMENT));
    let edits: Vec<_> = ["first", "second"]
        .map(|label| {
            let (registry, id) = (registry.clone(), id.clone());
            tokio::spawn(async move { registry.edit(&act(), &id, renamed(label)).await })
        })
        .into();
    all_wait().await;
    drop(lock);
    for edit in edits {
        edit.await.unwrap().unwrap();
    }
    registry.add(&act(), key("next", "sk-2")).await.unwrap();
    for registry in [registry, installation.open().await] {
        let found = registry.credential(&id).unwrap();
        assert!(!found.damaged);
        assert_eq!((found.label.as_str(), found.revision), ("second", 3));
    }
}

#[tokio::test]
async fn a_token_that_waited_for_an_erasing_that_stopped_half_way_is_revoked_on_top_of_it() {
    let (installation, registry) = Installation::with_acme().await;
    let made = registry.create_workspace(&act(), workspace("globex")).await;
    made.unwrap();
    let both = [acme(), "globex".parse().unwrap()];
    let new = NewToken {
        name: "Robin".to_owned(),
        role: Role::Viewer,
        scope: Scope::Only(Arc::new(both.into())),
        expires_at: None,
    };
    let made = registry.create_token(&act(), &Scope::All, new).await;
    let id = made.unwrap().token.id;
    drop(registry);
    let (storage, registry) = installation.open_faulty().await;
    let changing = registry.inner.access.changing.lock().await;
    storage.watch(Some(DOCUMENT));
    let of = registry.clone();
    let erased = tokio::spawn(async move { of.erase_workspace(&act(), &acme(), None).await });
    all_wait().await;
    let (of, token) = (registry.clone(), id.clone());
    let revoked = async move { of.revoke_token(&act(), &Scope::All, &token, None).await };
    let revoked = tokio::spawn(revoked);
    all_wait().await;
    drop(changing);
    erased.await.unwrap().unwrap();
    revoked.await.unwrap().unwrap();
    drop(registry);
    let registry = installation.open().await;
    let found = registry.access().named(&id).unwrap();
    assert_eq!((found.status, found.revision), (TokenStatus::Revoked, 3));
}

/// What a store holds that took the copies and the records of changes, and of their documents only what `kept` says.
async fn carried_out_only(asked: &[Asked], onto: &MemoryStorage, kept: impl Fn(usize) -> bool) {
    let mut documents = 0;
    for asked in asked {
        let of_document = match asked {
            Asked::Put(key, ..) | Asked::Remove(key, _) => !key.starts_with("pending/"),
            _ => false,
        };
        let clears_away = matches!(asked, Asked::Remove(key, _) if key.starts_with("pending/"));
        let replayed = match of_document {
            true => kept(documents),
            false => !clears_away,
        };
        documents += usize::from(of_document);
        if replayed {
            asked.replay(onto).await.unwrap();
        }
    }
}

#[tokio::test]
async fn changes_on_record_that_follow_on_each_other_are_all_carried_out_at_the_start() {
    for carried_out in 0..=3 {
        let (installation, registry, id) = one_key().await;
        drop(registry);
        let start = installation.memory.copy();
        let (storage, registry) = installation.open_faulty().await;
        storage.watch(None);
        for label in ["first", "second", "third"] {
            let edit = renamed(label);
            registry.edit(&act(), &id, edit).await.unwrap();
        }
        carried_out_only(&storage.asked(), &start, |n| n < carried_out).await;
        drop(registry);
        let registry = installation.open_still(Arc::new(start)).await;
        let found = registry.credential(&id).unwrap();
        assert!(!found.damaged, "{carried_out}");
        assert_eq!(
            (found.label.as_str(), found.revision),
            ("third", 4),
            "{carried_out}"
        );
    }
}

#[tokio::test]
async fn a_workspace_that_was_erased_and_made_anew_is_both_at_the_start() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    let start = installation.memory.copy();
    let (storage, registry) = installation.open_faulty().await;
    storage.watch(None);
    registry
        .erase_workspace(&act(), &acme(), None)
        .await
        .unwrap();
    let anew = NewWorkspace {
        name: "anew".to_owned(),
        ..workspace("acme")
    };
    registry.create_workspace(&act(), anew).await.unwrap();
    carried_out_only(&storage.asked(), &start, |_| false).await;
    drop(registry);
    let registry = installation.open_still(Arc::new(start)).await;
    let found = &registry.workspaces(&Scope::All)[0];
    assert_eq!((found.name.as_str(), found.damaged), ("anew", false));
}
