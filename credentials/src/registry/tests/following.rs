//! A process that only resolves, and follows the changes of an authority.

use std::time::Duration;

use keyside_store::faulty::{Fault, Incident};

use super::{
    erasing::{acme, two_workspaces},
    *,
};

#[tokio::test]
async fn a_process_that_only_resolves_writes_nothing_and_refuses_changes() {
    let (installation, registry, _) = one_key().await;
    drop(registry);
    let before = (
        files(installation.folder.path()),
        installation.memory.copy(),
    );
    let faulty = Arc::new(Faulty::new(installation.backend()));
    let reader = Registry::open_to_read(installation.options(faulty.backend())).await;
    let reader = reader.unwrap();
    let answer = opened(reader.resolver().resolve(&ask("acme")));
    assert_eq!(answer.as_deref(), Ok("sk-1"));
    reader.catch_up().await.unwrap();
    let added = reader.add(&act(), key("b", "sk-2")).await;
    assert!(
        matches!(
            added,
            Err(ChangeError::StoreUnavailable(StorageError::ReadOnly))
        ),
        "{added:?}"
    );
    // These change the keyring before they commit.
    let others = [
        reader
            .create_workspace(&act(), workspace("beta"))
            .await
            .err(),
        reader.rotate_workspace_key(&act(), &acme()).await.err(),
        reader.rotate_master_key(&act()).await.err(),
    ];
    for error in others {
        let is_read_only = matches!(
            error,
            Some(ChangeError::StoreUnavailable(StorageError::ReadOnly))
        );
        assert!(is_read_only, "{error:?}");
    }
    assert_eq!(faulty.writes(), 0);
    assert_eq!(files(installation.folder.path()), before.0);
    let now = installation.memory.copy();
    assert_eq!(now.contents().objects, before.1.contents().objects);
}

#[tokio::test(start_paused = true)]
async fn a_follower_shows_the_changes_of_an_authority_by_itself() {
    let (installation, registry, id) = one_key().await;
    let options = installation.options(installation.backend());
    let reader = Registry::open_to_read(options).await.unwrap();
    reader.follow(Duration::from_secs(1));
    let rotated = registry.rotate(&act(), &id, to("sk-2")).await;
    rotated.unwrap();
    let answer = || opened(reader.resolver().resolve(&ask("acme")));
    let shown = async {
        while answer().as_deref() != Ok("sk-2") {
            // Time passes at once while nothing else happens.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let shown = tokio::time::timeout(Duration::from_secs(60), shown).await;
    assert!(shown.is_ok(), "{:?}", answer());
}

#[tokio::test]
async fn a_workspace_that_cannot_be_read_does_not_hide_a_revocation_in_another() {
    let (installation, registry, _) = two_workspaces().await;
    let faulty = Arc::new(Faulty::new(installation.backend()));
    let reader = Registry::open_to_read(installation.options(faulty.backend())).await;
    let reader = reader.unwrap();
    reader.catch_up().await.unwrap();
    let of_globex = registry.list(&Filter {
        workspace: "globex".parse().ok(),
        ..Filter::default()
    });
    let (by, globex) = (act(), &of_globex[0].id);
    let revoked = registry.revoke(&by, globex, Revocation::default());
    revoked.await.unwrap();
    // After the installation's head, that of acme is read.
    let mut reads = 0;
    faulty.draw(move || {
        reads += 1;
        Incident {
            fault: (reads == 2).then_some(Fault::Refused),
            ..Incident::default()
        }
    });
    assert!(reader.catch_up().await.is_err());
    let answer = |id| opened(reader.resolver().resolve(&ask(id)));
    assert_eq!(answer("globex"), Err(Refusal::CredentialRevoked));
    assert_eq!(answer("acme").as_deref(), Ok("sk-acme"));
}

/// The contents of all files in a folder and in those below it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    found
}
