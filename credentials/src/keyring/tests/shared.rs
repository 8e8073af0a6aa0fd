//! Two processes with one keyring, such as two authorities on one backend.

use super::*;

fn workspace(n: usize) -> WorkspaceId {
    format!("w{n}").parse().unwrap()
}

async fn two() -> (TempDir, PathBuf, [Arc<Keyring>; 2]) {
    let (folder, path, one) = created().await;
    let other = Keyring::open_or_create(&path, kms(1), T0).await.unwrap();
    (folder, path, [Arc::new(one), Arc::new(other)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_added_by_two_processes_at_the_same_time_are_all_kept() {
    let (_folder, path, keyrings) = two().await;
    let adding = (0..16).map(|n| {
        let keyring = keyrings[n % 2].clone();
        tokio::spawn(async move {
            let key = keyring.add(&workspace(n)).await.unwrap();
            (key.id().to_owned(), key.seal(&CONTEXT, b"x"))
        })
    });
    let mut made = Vec::new();
    for adding in adding.collect::<Vec<_>>() {
        made.push(adding.await.unwrap());
    }
    for keyring in &keyrings {
        keyring.catch_up().await.unwrap();
    }
    let third = Keyring::open_or_create(&path, kms(1), T0).await.unwrap();
    for (n, (id, blob)) in made.iter().enumerate() {
        for keyring in [&*keyrings[0], &*keyrings[1], &third] {
            let key = keyring.last(&workspace(n)).unwrap();
            assert_eq!(key.id(), id, "w{n}");
            assert_eq!(&**key.open(&CONTEXT, blob).unwrap(), b"x", "w{n}");
        }
    }
}

#[tokio::test]
async fn keys_replaced_or_destroyed_by_one_process_are_so_for_the_other_after_it_catches_up() {
    let (_folder, _, [one, other]) = two().await;
    let first = one.add(&acme()).await.unwrap();
    assert!(other.last(&acme()).is_none(), "it has not caught up yet");
    let next = other.add_next(&acme()).await.unwrap();
    assert_eq!(other.ids(&acme()).await, [first.id(), next.id()]);
    one.catch_up().await.unwrap();
    other.catch_up().await.unwrap();
    for keyring in [&one, &other] {
        assert_eq!(keyring.last(&acme()).unwrap().id(), next.id());
        assert!(keyring.key(&acme(), first.id()).is_some());
    }
    // A process destroys a key that the other has added since it last caught up.
    let last = one.add_next(&acme()).await.unwrap();
    let all = [&first, &next, &last].map(|key| key.id().to_owned());
    assert_eq!(other.destroy(&all.into()).await.unwrap(), 3);
    one.catch_up().await.unwrap();
    assert!(one.last(&acme()).is_none());
    assert!(one.ids(&acme()).await.is_empty());
}

/// The process that has not rotated has no master key that unwraps the file now.
#[tokio::test]
async fn known_keys_stay_usable_after_the_other_process_rotates_the_master_key() {
    let (_folder, [one, other], id) = two_with_generated_master_key().await;
    let to = one.next_master_key().await.unwrap();
    assert_eq!(one.rewrap(&to, None, T0).await.unwrap().keys, 3);
    one.add(&"globex".parse().unwrap()).await.unwrap();
    other.catch_up().await.unwrap();
    assert_eq!(other.last(&acme()).unwrap().id(), id);
}

/// A change based on the older file would lose the keys that only memory has.
#[tokio::test]
async fn an_older_file_put_in_place_at_run_time_is_refused_until_the_newest_is_back() {
    let (_folder, path, [one, other]) = two().await;
    let first = one.add(&acme()).await.unwrap();
    let older = std::fs::read(&path).unwrap();
    let second = one.add(&workspace(1)).await.unwrap();
    other.catch_up().await.unwrap();
    let newest = std::fs::read(&path).unwrap();
    std::fs::write(&path, &older).unwrap();
    let master_key = kms(1).service().name("");
    for keyring in [&one, &other] {
        let to_destroy: HashSet<_> = [first.id().to_owned()].into();
        for error in [
            keyring.add(&workspace(2)).await.err().unwrap(),
            keyring.add_next(&acme()).await.err().unwrap(),
            keyring.destroy(&to_destroy).await.err().unwrap(),
            keyring.rewrap(&master_key, None, T0).await.err().unwrap(),
            keyring.add_successor().await.err().unwrap(),
            keyring.catch_up().await.err().unwrap(),
        ] {
            assert!(matches!(error, KeyringError::Older { .. }), "{error}");
            let message = error.to_string();
            assert!(message.contains(&path.display().to_string()), "{message}");
            assert!(message.contains("put back the newest copy"), "{message}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), older);
        let known = keyring.last(&workspace(1)).unwrap();
        assert_eq!(known.id(), second.id());
    }
    std::fs::write(&path, newest).unwrap();
    one.add(&workspace(2)).await.unwrap();
    other.catch_up().await.unwrap();
    for id in [acme(), workspace(1), workspace(2)] {
        assert!(other.last(&id).is_some(), "{id}");
    }
}
