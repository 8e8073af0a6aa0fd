//! The receipt of an erased workspace: it can be fetched at any time, and verified.

use std::collections::BTreeSet;

use keyside_store::faulty::Fault;

use super::{
    access::{limited_owner, limited_to, store},
    erasing::{acme, erase, two_workspaces},
    *,
};
use crate::{
    audit::{Receipt, ReceiptError, VerifyError},
    model::WorkspaceState,
};

#[tokio::test]
async fn the_receipt_counts_the_deleted_objects_and_names_its_audit_record() {
    let (_installation, registry, _) = two_workspaces().await;
    let keys = registry.keyring.ids(&acme()).await;
    let receipt = erase(&registry).await;
    assert_eq!(receipt.destroyed_keys, keys);
    assert_eq!((receipt.credentials, &receipt.erased_by), (1, &act().actor));
    let recorded = records(&registry).await;
    let mut of_installation = recorded
        .iter()
        .filter(|it| it.chain.workspace_id().is_none());
    let record = of_installation.find(|it| it.position == receipt.audit.position);
    let record = record.unwrap();
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
async fn a_receipt_can_be_fetched_again_after_a_restart() {
    let (installation, registry, _) = two_workspaces().await;
    let receipt = erase(&registry).await;
    let head = seen(&registry).await;
    assert_eq!(erase(&registry).await, receipt);
    drop(registry);
    let registry = installation.open().await;
    assert_eq!(erase(&registry).await, receipt);
    // A precondition on a state from before the erasure no longer matters.
    let as_seen = WorkspaceState {
        incarnation: 7,
        revision: 7,
    };
    let with_state = registry
        .erase_workspace(&act(), &acme(), Some(as_seen))
        .await;
    assert_eq!(with_state.unwrap(), receipt);
    assert_eq!(seen(&registry).await, head, "nothing was done again");
    let (by, never) = (act(), "initech".parse().unwrap());
    let never = registry.erase_workspace(&by, &never, None).await;
    assert!(matches!(never, Err(ChangeError::WorkspaceUnknown)));
}

#[tokio::test]
async fn only_an_unedited_receipt_is_confirmed() {
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
        ("signature", "0".repeat(128).into()),
    ] {
        let mut forged = json.clone();
        forged[field] = other;
        let error = confirm(forged).await.unwrap_err();
        assert!(is_foreign(&error), "{field}: {error}");
    }
    let (_another, elsewhere) = Installation::with_acme().await;
    let error = elsewhere.audit().confirm(&receipt).await.unwrap_err();
    assert!(is_foreign(&error), "{error}");
}

fn is_foreign(error: &VerifyError) -> bool {
    matches!(error, VerifyError::Receipt(ReceiptError::Foreign))
}

/// On another machine, with only the receipt and the key that `keyside audit key` prints.
#[tokio::test]
async fn an_edit_of_any_field_of_a_receipt_is_detected_with_the_public_key_alone() {
    let (_installation, registry, _) = two_workspaces().await;
    let receipt = erase(&registry).await;
    let key = registry.audit().public_key();
    let json = serde_json::to_value(&receipt).unwrap();
    let again: Receipt = serde_json::from_value(json.clone()).unwrap();
    assert!(again == receipt && again.is_signed_by(&key));
    let (_another, elsewhere) = Installation::with_acme().await;
    let other = elsewhere.audit().public_key();
    assert!(!receipt.is_signed_by(&other));
    for (field, value) in json.as_object().unwrap() {
        let mut edited = json.clone();
        edited[field] = match (field.as_str(), value) {
            ("erasedAt", _) => "2026-11-22T00:00:01Z".into(),
            ("publicKey", _) => other.to_string().into(),
            ("audit", _) => {
                let mut audit = value.clone();
                audit["position"] = 1.into();
                audit
            }
            (_, serde_json::Value::Number(number)) => (number.as_u64().unwrap() + 1).into(),
            (_, serde_json::Value::Array(_)) => serde_json::json!(["tok_other"]),
            (_, serde_json::Value::String(text)) => match text.strip_suffix('0') {
                Some(rest) => format!("{rest}1").into(),
                None => format!("{}0", &text[..text.len() - 1]).into(),
            },
            (_, other) => panic!("{field}: {other}"),
        };
        assert_ne!(edited, json, "{field}");
        let edited: Receipt = serde_json::from_value(edited).unwrap();
        assert!(!edited.is_signed_by(&key), "{field}");
        assert!(!edited.is_signed_by(&other), "{field}");
    }
    let mut more = json;
    more["more"] = 1.into();
    assert!(serde_json::from_value::<Receipt>(more).is_err());
}

#[tokio::test]
async fn a_receipt_proves_an_edit_or_a_rollback_of_the_log() {
    let (installation, registry, _) = two_workspaces().await;
    let before = installation.copy();
    let receipt = erase(&registry).await;
    let state = registry.chains.installation().state().unwrap();
    let first = ChainName::installation().object_key(&state.head.tail[0]);
    installation.tamper(&first, |record| record[80] ^= 1);
    let error = registry.audit().confirm(&receipt).await.unwrap_err();
    assert!(matches!(error, VerifyError::Broken(_)), "{error}");
    drop(registry);
    // The whole data folder from before.
    let registry = before.open().await;
    let error = registry.audit().confirm(&receipt).await.unwrap_err();
    let is_missed = matches!(error, VerifyError::Receipt(ReceiptError::NotInLog));
    assert!(is_missed, "{error}");
}

#[tokio::test]
async fn each_erased_workspace_of_one_id_has_its_own_receipt() {
    let (_installation, registry, _) = two_workspaces().await;
    let first = erase(&registry).await;
    let recreated = registry.create_workspace(&act(), workspace("acme")).await;
    recreated.unwrap();
    let second = erase(&registry).await;
    assert_ne!(first.id, second.id);
    assert_ne!(first.destroyed_keys, second.destroyed_keys);
    assert_eq!((first.credentials, second.credentials), (1, 0));
    assert_eq!(erase(&registry).await, second);
    for receipt in [first, second] {
        registry.audit().confirm(&receipt).await.unwrap();
    }
}

/// More ids than a record holds. Otherwise an owner who is limited to a workspace could keep it from
/// being erased.
#[tokio::test(start_paused = true)]
async fn a_workspace_with_hundreds_of_tokens_and_keys_is_erased_and_its_receipt_names_them_all() {
    let (prepared, registry, _) = two_workspaces().await;
    let tokens: Vec<_> = (0..250).map(|_| limited_owner()).collect();
    store(&registry, &tokens).await;
    for _ in 0..120 {
        registry.keyring.add_next(&acme()).await.unwrap();
    }
    let keys = registry.keyring.ids(&acme()).await;
    let tokens: BTreeSet<_> = tokens.into_iter().map(|token| token.id).collect();
    drop(registry);
    for at in [3, 6, 20, 100, usize::MAX] {
        let installation = prepared.copy();
        let (storage, registry) = installation.open_faulty().await;
        storage.fail(at, usize::MAX, Fault::Refused);
        let erased = registry.erase_workspace(&act(), &acme(), None).await;
        let reached = storage.heal();
        assert!(reached || erased.is_ok(), "cut at {at}: {erased:?}");
        drop(registry);
        let registry = installation.open().await;
        let receipt = erase(&registry).await;
        assert_eq!(receipt.destroyed_keys, keys, "cut at {at}");
        assert_eq!(
            receipt.tokens.iter().cloned().collect::<BTreeSet<_>>(),
            tokens
        );
        registry.audit().confirm(&receipt).await.unwrap();
        assert!(registry.keyring.ids(&acme()).await.is_empty());
        let again = registry.create_workspace(&act(), workspace("acme")).await;
        again.unwrap();
        let of_successor = AuditFilter {
            within: limited_to("acme"),
            event: Some(Event::WorkspaceErased),
            ..AuditFilter::default()
        };
        let shown = registry.audit().search(&of_successor, None, 100).await;
        assert_eq!(shown.unwrap().records, []);
    }
}
