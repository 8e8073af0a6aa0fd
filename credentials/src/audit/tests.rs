//! Verifies and exports the log while it grows, and offline.

mod stopped;

use std::sync::Arc;

use keyside_config::{Catalogue, CredentialRules};
use keyside_store::{Backend, Memory, chain::ChainName};
use tempfile::TempDir;

use super::*;
use crate::{
    Kms, MasterKey, NewCredential, NewWorkspace, OpenOptions, Registry, Secret, SystemClock,
};

async fn open() -> (TempDir, Arc<Registry>) {
    open_on(&Arc::new(Memory::new())).await
}

fn kms() -> Kms {
    Kms::local(MasterKey::parse(&[9; 32], "a test").unwrap())
}

async fn open_on(memory: &Arc<Memory>) -> (TempDir, Arc<Registry>) {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(OpenOptions {
        backend: Backend::of(memory.clone()),
        keyring: folder.path().join("keyring"),
        kms: kms(),
        catalogue: Arc::new(Catalogue::builtin()),
        rules: CredentialRules { expiring_days: 30 },
        clock: Arc::new(SystemClock),
    });
    let registry = registry.await.unwrap();
    let acme = NewWorkspace {
        id: "acme".parse().unwrap(),
        name: "Acme".to_owned(),
    };
    registry.create_workspace(&act(), acme).await.unwrap();
    (folder, registry)
}

fn act() -> ActorContext {
    ActorContext {
        actor: "tok_tester".parse().unwrap(),
        request_id: "req_1".to_owned(),
    }
}

async fn add(registry: &Arc<Registry>, label: String) {
    let secret = format!("sk-canary-of-the-log-{label}");
    let secret = Secret::from_plaintext(secret.into_bytes()).unwrap();
    let (workspace, label) = ("acme".parse().unwrap(), label.parse().unwrap());
    let key = NewCredential::new(workspace, "openai", label, secret);
    registry.add(&act(), key).await.unwrap();
}

/// The commit after the 32nd moves those before it into a segment and deletes the originals.
#[tokio::test]
async fn an_export_contains_the_records_from_its_start_despite_later_commits() {
    let (_folder, registry) = open().await;
    for n in 0..5 {
        add(&registry, format!("before-{n}")).await;
    }
    let mut export = registry.audit().export(AuditFilter::default(), None);
    for n in 0..40 {
        add(&registry, format!("meanwhile-{n}")).await;
    }
    let acme = ChainName::workspace("acme");
    let (mut records, mut ends) = (Vec::new(), Vec::new());
    while let Some(lines) = export.next().await.unwrap() {
        for line in lines {
            match line {
                Line::Record(record) if record.chain == acme => records.push(*record),
                Line::End {
                    chain,
                    records,
                    hash,
                    ..
                } if chain == acme => ends.push((records, hash)),
                _ => {}
            }
        }
    }
    // The chain's first record, and five keys.
    let positions: Vec<_> = records.iter().map(|record| record.position).collect();
    assert_eq!(positions, [1, 2, 3, 4, 5, 6]);
    assert_eq!(ends, [(6, records[5].hash)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifying_a_growing_log_finds_no_damage() {
    let (_folder, registry) = open().await;
    let writing = registry.clone();
    let writer = tokio::spawn(async move {
        for n in 0..150 {
            add(&writing, format!("key-{n}")).await;
        }
    });
    let mut checks = 0;
    while !writer.is_finished() {
        let verified = registry.audit().verify().await;
        verified.unwrap_or_else(|error| panic!("after {checks} checks: {error}"));
        checks += 1;
    }
    writer.await.unwrap();
    let verified = registry.audit().verify().await.unwrap();
    let acme = ChainName::workspace("acme");
    let end = verified.heads.iter().find(|(chain, _)| *chain == acme);
    assert_eq!(end.unwrap().1.position, 151);
}
