//! Someone with write access to the store. Every clause ends the same way: nothing that was touched is served, it is still
//! listed, it is on record once, and everything else goes on.

use std::collections::BTreeMap;

use super::*;
use crate::{
    CredentialId,
    audit::{Event, VerifyError},
    storage::{Document, Log},
};

type Documents = BTreeMap<String, Document>;
type Logs = BTreeMap<(Log, u64), Vec<u8>>;

/// Workspaces `acme` with keys `a` (default) and `b`, and `globex` with key `a`.
async fn two_workspaces() -> (Installation, [CredentialId; 3]) {
    let (installation, registry) = Installation::with_acme().await;
    registry
        .create_workspace(&act(), workspace("globex"))
        .await
        .unwrap();
    let globex = NewCredential {
        workspace: "globex".parse().unwrap(),
        ..key("a", "sk-globex-a")
    };
    let mut ids = Vec::new();
    for new in [key("a", "sk-acme-a"), key("b", "sk-acme-b"), globex] {
        ids.push(registry.add(&act(), new).await.unwrap().credential.id);
    }
    (installation, ids.try_into().unwrap())
}

fn acme_key(id: &CredentialId) -> String {
    format!("credentials/acme/{id}")
}

pub(super) fn edit(document: &mut Document, from: &str, to: &str) {
    let text = String::from_utf8_lossy(&document.body);
    assert!(text.contains(from), "nothing to edit in {text}");
    let at = document
        .body
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap();
    document.body.splice(at..at + from.len(), to.bytes());
}

/// What requests for `a` and `b` of acme, and for globex, are answered with after the store was tampered with.
async fn answers(installation: &Installation) -> [Result<String, Refusal>; 3] {
    let registry = installation.open().await;
    let resolver = registry.resolver();
    let labelled = |workspace, label| {
        opened(resolver.resolve(&Ask {
            label: Some(label),
            ..ask(workspace)
        }))
    };
    [
        labelled("acme", "a"),
        labelled("acme", "b"),
        labelled("globex", "a"),
    ]
}

/// Tampers, and expects acme's key `a` to be refused and the others to be served.
async fn refuses_only_a(tamper: impl FnOnce(&mut Documents, &mut Logs, &[CredentialId; 3])) {
    let (installation, ids) = two_workspaces().await;
    let registry = installation.open().await;
    let before = seen(&registry).await.position;
    drop(registry);
    installation
        .memory
        .tamper(|documents, logs| tamper(documents, logs, &ids));
    let [a, b, globex] = answers(&installation).await;
    assert_eq!(a, Err(Refusal::CredentialUndecryptable));
    assert_eq!(b.as_deref(), Ok("sk-acme-b"));
    assert_eq!(globex.as_deref(), Ok("sk-globex-a"));
    // Found again at each start, on record once, and still on the list if it can be told at all.
    let registry = installation.open().await;
    let found = registry.audit().records(before + 1, 100).await.unwrap();
    assert!(
        !found.is_empty()
            && found
                .iter()
                .all(|record| record.event == Event::DocumentDamaged),
        "{found:?}"
    );
    let head = seen(&registry).await;
    drop(registry);
    assert_eq!(installation.open().await.audit().head().await, head);
}

#[tokio::test]
async fn an_edit_of_a_document_is_found_whatever_it_says_now() {
    for (from, to) in [
        ("\"endpoint\":null", "\"endpoint\":\"https://evil.example\""),
        ("\"provider\":\"openai\"", "\"provider\":\"gemini\""),
        (
            "\"expiresAt\":null",
            "\"expiresAt\":\"2099-01-01T00:00:00Z\"",
        ),
        ("\"environment\":\"live\"", "\"environment\":\"sandbox\""),
        ("\"label\":\"a\"", "\"label\":\"c\""),
        (
            "\"revokedAt\":null",
            "\"revokedAt\":\"2020-01-01T00:00:00Z\"",
        ),
        ("\"current\":1", "\"current\":2"),
        (
            "\"destroyedAt\":null",
            "\"destroyedAt\":\"2020-01-01T00:00:00Z\"",
        ),
        ("\"revision\":1", "\"revision\":2"),
    ] {
        let (installation, [a, ..]) = two_workspaces().await;
        installation
            .memory
            .tamper(|documents, _| edit(documents.get_mut(&acme_key(&a)).unwrap(), from, to));
        let registry = installation.open().await;
        let granted = |provider| {
            registry
                .resolver()
                .resolve(&Ask {
                    provider,
                    ..ask("acme")
                })
                .map(drop)
        };
        assert_eq!(
            granted("openai"),
            Err(Refusal::CredentialUndecryptable),
            "{to}"
        );
        assert!(granted("gemini").is_err(), "{to}");
        assert!(registry.credential(&a).unwrap().damaged, "{to}");
        assert!(
            matches!(
                registry.revoke(&act(), &a, Revocation::default()).await,
                Err(ChangeError::Damaged)
            ),
            "{to}"
        );
    }
}

#[tokio::test]
async fn a_document_of_another_key_is_found() {
    refuses_only_a(|documents, _, [a, b, _]| {
        let other = documents[&acme_key(b)].clone();
        documents.insert(acme_key(a), other);
    })
    .await;
}

#[tokio::test]
async fn a_document_of_another_workspace_is_found() {
    refuses_only_a(|documents, _, [a, _, globex]| {
        let other = documents[&format!("credentials/globex/{globex}")].clone();
        documents.insert(acme_key(a), other);
    })
    .await;
}

#[tokio::test]
async fn a_removed_document_is_missed() {
    let (installation, [a, ..]) = two_workspaces().await;
    installation
        .memory
        .tamper(|documents, _| drop(documents.remove(&acme_key(&a))));
    let [by_label, b, _] = answers(&installation).await;
    assert_eq!(
        (by_label, b.as_deref()),
        (Err(Refusal::CredentialUndecryptable), Ok("sk-acme-b"))
    );
    let registry = installation.open().await;
    assert_eq!(
        registry.resolver().resolve(&ask("acme")).unwrap_err(),
        Refusal::CredentialUndecryptable
    );
}

#[tokio::test]
async fn a_document_cut_to_any_length_is_found_and_never_a_panic() {
    let (installation, [a, ..]) = two_workspaces().await;
    let whole = installation.memory.copy();
    let mut len = 0;
    whole.tamper(|documents, _| len = documents[&acme_key(&a)].body.len());
    for cut in [0, 1, 2, 20, 40, 64, len / 2, len - 1] {
        let memory = Arc::new(whole.copy());
        memory.tamper(|documents, _| documents.get_mut(&acme_key(&a)).unwrap().body.truncate(cut));
        let registry = Registry::open(installation.options(memory)).await.unwrap();
        let refusal = registry.resolver().resolve(&ask("acme")).unwrap_err();
        assert_eq!(refusal, Refusal::CredentialUndecryptable, "cut to {cut}");
        std::fs::remove_file(installation.anchor()).unwrap();
    }
}

#[tokio::test]
async fn an_older_document_put_back_is_found() {
    let (installation, [a, ..]) = two_workspaces().await;
    let registry = installation.open().await;
    let mut older = None;
    installation
        .memory
        .tamper(|documents, _| older = documents.get(&acme_key(&a)).cloned());
    registry
        .revoke(&act(), &a, Revocation::default())
        .await
        .unwrap();
    drop(registry);
    installation
        .memory
        .tamper(|documents, _| drop(documents.insert(acme_key(&a), older.unwrap())));
    assert_eq!(
        answers(&installation).await[0],
        Err(Refusal::CredentialUndecryptable),
        "a revoked key does not revive"
    );
}

#[tokio::test]
async fn an_older_document_put_back_with_the_records_cut_off_is_found() {
    let (installation, [a, ..]) = two_workspaces().await;
    let registry = installation.open().await;
    let older = installation.memory.copy();
    registry
        .revoke(&act(), &a, Revocation::default())
        .await
        .unwrap();
    let last = seen(&registry).await.position;
    // Another change, so that the log is not simply shorter.
    registry.add(&act(), key("c", "sk-acme-c")).await.unwrap();
    drop(registry);
    let mut document = None;
    older.tamper(|documents, _| document = documents.get(&acme_key(&a)).cloned());
    installation.memory.tamper(|documents, logs| {
        documents.insert(acme_key(&a), document.unwrap());
        logs.remove(&(Log::Audit, last));
    });
    let registry = installation.open().await;
    let by_label = |label| {
        opened(registry.resolver().resolve(&Ask {
            label: Some(label),
            ..ask("acme")
        }))
    };
    assert_eq!(by_label("a"), Err(Refusal::CredentialUndecryptable));
    // Whatever the missing record was about, it was not what came after it.
    assert_eq!(by_label("c").as_deref(), Ok("sk-acme-c"));
    let VerifyError::Broken(found) = registry.audit().verify().await.unwrap_err() else {
        panic!()
    };
    assert_eq!(found.position, last);
}

#[tokio::test]
async fn changed_defaults_are_found_and_stop_the_workspace() {
    let (installation, [a, b, _]) = two_workspaces().await;
    installation.memory.tamper(|documents, _| {
        edit(
            documents.get_mut("workspaces/acme").unwrap(),
            a.as_str(),
            b.as_str(),
        );
    });
    let [a, b, globex] = answers(&installation).await;
    assert_eq!(
        [a, b],
        [
            Err(Refusal::CredentialUndecryptable),
            Err(Refusal::CredentialUndecryptable)
        ]
    );
    assert_eq!(globex.as_deref(), Ok("sk-globex-a"));
    let registry = installation.open().await;
    assert!(
        registry.workspaces(&Scope::All)[0].damaged && !registry.workspaces(&Scope::All)[1].damaged
    );
    assert!(matches!(
        registry.add(&act(), key("d", "sk-d")).await,
        Err(ChangeError::Damaged)
    ));
}

#[tokio::test]
async fn a_key_saved_beside_a_default_that_is_gone_takes_its_place() {
    let (installation, [a, ..]) = two_workspaces().await;
    installation
        .memory
        .tamper(|documents, _| drop(documents.remove(&acme_key(&a))));
    let registry = installation.open().await;
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))),
        Err(Refusal::CredentialUndecryptable)
    );
    let added = registry.add(&act(), key("new", "sk-new")).await.unwrap();
    assert!(added.credential.is_default);
    assert_eq!(
        opened(registry.resolver().resolve(&ask("acme"))).as_deref(),
        Ok("sk-new")
    );
}

#[tokio::test]
async fn a_pending_copy_slipped_in_changes_nothing() {
    let (installation, [a, ..]) = two_workspaces().await;
    let registry = installation.open().await;
    let mut older = None;
    installation
        .memory
        .tamper(|documents, _| older = documents.get(&acme_key(&a)).cloned());
    registry
        .revoke(&act(), &a, Revocation::default())
        .await
        .unwrap();
    drop(registry);
    let older = older.unwrap();
    installation.memory.tamper(|documents, logs| {
        // The id of a change that is on record, so that it would be carried out.
        let record = String::from_utf8_lossy(&logs[&(Log::Audit, 4)]).into_owned();
        let change = record
            .split("\"change\":\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        let body = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &older.body);
        let writes = format!(
            r#"[{{"key":"{}","expected":2,"body":"{body}"}}]"#,
            acme_key(&a)
        );
        documents.insert(
            format!("pending/{change}"),
            Document {
                revision: 1,
                body: writes.into_bytes(),
            },
        );
        documents.insert(
            "pending/nonsense".to_owned(),
            Document {
                revision: 1,
                body: b"{".to_vec(),
            },
        );
    });
    assert_eq!(
        answers(&installation).await[0],
        Err(Refusal::CredentialRevoked)
    );
}

#[tokio::test]
async fn the_first_audit_record_that_was_edited_cut_or_swapped_is_named() {
    // Records: 1 the owner's token, 2 acme, 3 globex, 4 key a of acme, 5 key b of acme, 6 key a of globex.
    type Tamper = fn(&mut Logs);
    let undecryptable = Err(Refusal::CredentialUndecryptable);
    let tampering: [(&str, u64, Result<&str, Refusal>, Tamper); 4] = [
        // Key a was written after it, so what it said of the past does not matter.
        ("edited", 3, Ok("sk-acme-a"), |logs| {
            let record = logs.get_mut(&(Log::Audit, 3)).unwrap();
            let at = record
                .windows(10)
                .position(|window| window == b"tok_tester")
                .unwrap();
            record[at..at + 10].copy_from_slice(b"tok_nobody");
        }),
        ("cut out", 4, undecryptable, |logs| {
            drop(logs.remove(&(Log::Audit, 4)))
        }),
        ("swapped", 2, undecryptable, |logs| {
            let (two, five) = (
                logs[&(Log::Audit, 2)].clone(),
                logs[&(Log::Audit, 5)].clone(),
            );
            logs.insert((Log::Audit, 2), five);
            logs.insert((Log::Audit, 5), two);
        }),
        ("emptied", 6, undecryptable, |logs| {
            logs.get_mut(&(Log::Audit, 6)).unwrap().clear()
        }),
    ];
    for (how, position, answer, tamper) in tampering {
        let (installation, _) = two_workspaces().await;
        let running = installation.open().await;
        installation.memory.tamper(|_, logs| tamper(logs));
        let VerifyError::Broken(found) = running.audit().verify().await.unwrap_err() else {
            panic!("{how}")
        };
        assert_eq!(found.position, position, "{how}: {found}");
        drop(running);
        let [a, ..] = answers(&installation).await;
        assert_eq!(a.as_deref(), answer.as_deref(), "{how}");
        let registry = installation.open().await;
        let records = records(&registry).await;
        let named = records
            .iter()
            .filter(|record| record.event == Event::AuditDamaged)
            .count();
        assert_eq!(named, 1, "{how}: on record once");
        let token = std::fs::read_to_string(registry.access().token_file()).unwrap();
        assert!(
            registry.access().authenticate(token.trim()).is_some(),
            "{how}: the owner can still get in"
        );
    }
}

#[tokio::test]
async fn a_log_cut_at_its_end_is_named_while_running_and_refused_at_start() {
    let (installation, _) = two_workspaces().await;
    let running = installation.open().await;
    let head = running.audit().head().await.position;
    installation
        .memory
        .tamper(|_, logs| drop(logs.remove(&(Log::Audit, head))));
    let VerifyError::Broken(found) = running.audit().verify().await.unwrap_err() else {
        panic!()
    };
    assert_eq!(found.position, head);
    drop(running);
    assert!(
        matches!(installation.try_open().await.err(), Some(OpenError::Replaced { found, .. }) if found.position == head)
    );
}
