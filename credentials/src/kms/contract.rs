//! The contract that every [`KeyService`] must fulfil. Each driver runs it in its tests; other
//! crates enable the feature `contract`.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{KeyService, Wrapping};

/// Checks every clause, and panics at the first violation.
///
/// `service` may create keys. `other` is of the same driver and wraps with other keys.
pub async fn upheld_by(service: Arc<dyn KeyService>, other: Arc<dyn KeyService>) {
    a_wrapped_key_unwraps_and_names_its_wrapping_key(&*service).await;
    a_wrapped_key_unwraps_only_in_its_own_context(&*service).await;
    damaged_bytes_do_not_unwrap(&*service).await;
    another_key_does_not_unwrap_it(&*service, &*other).await;
    many_unwrap_at_the_same_time(&service).await;
    forgetting_a_workspace_leaves_the_others(&*service).await;
}

async fn a_wrapped_key_unwraps_and_names_its_wrapping_key(service: &dyn KeyService) {
    let own = Wrapping {
        workspace: "",
        ..HERE
    };
    // Workspace ids that a service with naming rules of its own might misread.
    let ids = ["-", "a-", "installation", "0"];
    let others = ids.map(|workspace| Wrapping { workspace, ..HERE });
    for wrapping in [HERE, own].into_iter().chain(others) {
        let wrapped = service.wrap(&wrapping, &KEY).await.expect("a wrapped key");
        let root = service.unwrap(&wrapping, &wrapped).await;
        assert_eq!(*root.expect("a key"), KEY, "{wrapping:?}");
        let by = service.wrapped_by(&wrapped);
        assert_eq!(by, Some(service.name(wrapping.workspace)), "{wrapping:?}");
        let again = service.wrap(&wrapping, &KEY).await.expect("a wrapped key");
        assert_ne!(again, wrapped, "one nonce for two");
        assert!(
            !wrapped.windows(KEY.len()).any(|window| window == KEY),
            "it holds the key"
        );
    }
}

async fn a_wrapped_key_unwraps_only_in_its_own_context(service: &dyn KeyService) {
    let wrapped = service.wrap(&HERE, &KEY).await.expect("a wrapped key");
    for elsewhere in [
        Wrapping {
            installation: "ins_2",
            ..HERE
        },
        Wrapping {
            workspace: "globex",
            ..HERE
        },
        Wrapping {
            workspace: "",
            ..HERE
        },
        Wrapping {
            signer: "00",
            ..HERE
        },
        Wrapping {
            key: "wk_2",
            ..HERE
        },
        // The same concatenation, split elsewhere.
        Wrapping {
            installation: "ins_",
            key: "1wk_1",
            ..HERE
        },
    ] {
        does_not_unwrap(service, &elsewhere, &wrapped).await;
    }
}

async fn damaged_bytes_do_not_unwrap(service: &dyn KeyService) {
    let wrapped = service.wrap(&HERE, &KEY).await.expect("a wrapped key");
    for at in 0..wrapped.len() {
        let mut damaged = wrapped.clone();
        damaged[at] ^= 0x80;
        does_not_unwrap(service, &HERE, &damaged).await;
    }
    for len in [0, 1, wrapped.len() / 2, wrapped.len() - 1] {
        does_not_unwrap(service, &HERE, &wrapped[..len]).await;
    }
    does_not_unwrap(service, &HERE, &[wrapped, vec![0]].concat()).await;
}

async fn another_key_does_not_unwrap_it(service: &dyn KeyService, other: &dyn KeyService) {
    let wrapped = service.wrap(&HERE, &KEY).await.expect("a wrapped key");
    other.wrap(&HERE, &KEY).await.expect("keys of its own");
    assert_ne!(other.name(HERE.workspace), service.name(HERE.workspace));
    does_not_unwrap(other, &HERE, &wrapped).await;
}

async fn many_unwrap_at_the_same_time(service: &Arc<dyn KeyService>) {
    let mut running = JoinSet::new();
    for byte in 0..32 {
        let service = service.clone();
        running.spawn(async move {
            let key = [byte; 32];
            let id = format!("wk_{byte}");
            let wrapping = Wrapping { key: &id, ..HERE };
            let wrapped = service.wrap(&wrapping, &key).await.expect("a wrapped key");
            let root = service.unwrap(&wrapping, &wrapped).await;
            assert_eq!(*root.expect("a key"), key);
        });
    }
    while let Some(done) = running.join_next().await {
        done.expect("no panic");
    }
}

async fn forgetting_a_workspace_leaves_the_others(service: &dyn KeyService) {
    let globex = Wrapping {
        workspace: "globex",
        ..HERE
    };
    let wrapped = service.wrap(&globex, &KEY).await.expect("a wrapped key");
    for workspace in [HERE.workspace, HERE.workspace, "never-there"] {
        service.forget(workspace).await.expect("it can be repeated");
    }
    let root = service.unwrap(&globex, &wrapped).await;
    assert_eq!(*root.expect("a key"), KEY);
    let again = service.wrap(&HERE, &KEY).await;
    again.expect("a workspace of the same id later");
}

/// The error must also say that other keys are not affected.
async fn does_not_unwrap(service: &dyn KeyService, wrapping: &Wrapping<'_>, wrapped: &[u8]) {
    match service.unwrap(wrapping, wrapped).await {
        Ok(_) => panic!("it unwraps for {wrapping:?}: {wrapped:?}"),
        Err(error) => assert!(error.is_about_one_key(), "{wrapping:?}: {error}"),
    }
}

pub(super) const HERE: Wrapping<'_> = Wrapping {
    installation: "ins_1",
    workspace: "acme",
    key: "wk_1",
    signer: "",
};

const KEY: [u8; 32] = *b"a workspace key of the contract.";
