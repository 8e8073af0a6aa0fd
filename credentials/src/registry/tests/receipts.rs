//! The receipt of an erased workspace: to be had as often as it is asked for, and to be checked.

use super::{
    erasing::{acme, erase, two_workspaces},
    *,
};
use crate::{WorkspaceState, audit::VerifyError, storage::Log};

#[tokio::test]
async fn the_receipt_says_what_went_and_where_the_log_tells_of_it() {
    let (_installation, registry, _) = two_workspaces().await;
    let keys = registry.inner.keyring.ids(&acme()).await;
    let receipt = erase(&registry).await;
    assert_eq!(receipt.destroyed_keys, keys);
    assert_eq!((receipt.credentials, &receipt.erased_by), (1, &act().actor));
    let record = registry.audit().records(receipt.audit.position, 1).await;
    let record = &record.unwrap()[0];
    assert_eq!(
        (record.event, record.hash, record.note.as_ref()),
        (
            Event::WorkspaceErased,
            receipt.audit.hash,
            Some(&receipt.id)
        )
    );
}

#[tokio::test]
async fn the_same_receipt_is_to_be_had_again_also_after_a_restart() {
    let (installation, registry, _) = two_workspaces().await;
    let receipt = erase(&registry).await;
    let head = seen(&registry).await;
    assert_eq!(erase(&registry).await, receipt);
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(erase(&registry).await, receipt);
    // A state that was seen before it was erased is of no matter any more.
    let seen = WorkspaceState {
        incarnation: 7,
        revision: 7,
    };
    let with_state = registry.erase_workspace(&act(), &acme(), Some(seen)).await;
    assert_eq!(with_state.unwrap(), receipt);
    assert_eq!(
        seen(&registry).await,
        head,
        "nothing was done again"
    );
    let (by, never) = (act(), "initech".parse().unwrap());
    let never = registry.erase_workspace(&by, &never, None).await;
    assert!(matches!(never, Err(ChangeError::WorkspaceUnknown)));
}

#[tokio::test]
async fn a_receipt_is_confirmed_as_it_was_given_out_and_not_otherwise() {
    let (installation, registry, _) = two_workspaces().await;
    let receipt = erase(&registry).await;
    let json = serde_json::to_value(&receipt).unwrap();
    drop(registry);
    let registry = installation.open().await;
    let confirm = async |json: serde_json::Value| {
        let receipt = serde_json::from_value(json).unwrap();
        registry.audit().confirm(&receipt).await
    };
    confirm(json.clone()).await.unwrap();
    for (field, other) in [
        ("workspace", "globex".into()),
        ("erasedAt", "2026-11-22T00:00:01Z".into()),
        ("destroyedKeys", serde_json::json!([])),
        ("credentials", 2.into()),
        ("mac", "".into()),
    ] {
        let mut forged = json.clone();
        forged[field] = other;
        let error = confirm(forged).await.unwrap_err();
        assert!(matches!(error, VerifyError::ReceiptForeign), "{field}");
    }
    let (_another, elsewhere) = Installation::with_acme().await;
    let error = elsewhere.audit().confirm(&receipt).await.unwrap_err();
    assert!(matches!(error, VerifyError::ReceiptForeign), "{error}");
}

#[tokio::test]
async fn a_receipt_shows_when_the_log_was_edited_or_put_back_to_before() {
    let (installation, registry, _) = two_workspaces().await;
    let before = installation.memory.copy();
    let receipt = erase(&registry).await;
    installation.memory.tamper(|_, logs| {
        logs.get_mut(&(Log::Audit, 1)).unwrap()[80] ^= 1;
    });
    let error = registry.audit().confirm(&receipt).await.unwrap_err();
    assert!(matches!(error, VerifyError::Broken(_)), "{error}");
    drop(registry);
    std::fs::remove_file(installation.anchor()).unwrap();
    let registry = installation.open_still(Arc::new(before)).await;
    let error = registry.audit().confirm(&receipt).await.unwrap_err();
    assert!(matches!(error, VerifyError::ReceiptNotInLog), "{error}");
}

#[tokio::test]
async fn each_workspace_that_had_a_name_has_a_receipt_of_its_own() {
    let (_installation, registry, _) = two_workspaces().await;
    let first = erase(&registry).await;
    let anew = registry.create_workspace(&act(), workspace("acme")).await;
    anew.unwrap();
    let second = erase(&registry).await;
    assert_ne!(first.id, second.id);
    assert_ne!(first.destroyed_keys, second.destroyed_keys);
    assert_eq!((first.credentials, second.credentials), (1, 0));
    assert_eq!(erase(&registry).await, second);
    for receipt in [first, second] {
        registry.audit().confirm(&receipt).await.unwrap();
    }
}
