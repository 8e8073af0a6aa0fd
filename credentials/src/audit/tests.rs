//! Verifies and exports the log while it grows, and offline.

mod stopped;

use std::sync::Arc;

use keyside_config::CredentialRules;
use keyside_store::{Backend, Memory, chain::ChainName};
use tempfile::TempDir;

use super::*;
use crate::{
    Kms, MasterKey, NewCredential, OpenOptions, Registry, Secret, SystemClock,
    registry::tests::{act, catalogue, copy_files, workspace},
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
        catalogue: catalogue(),
        rules: CredentialRules { expiring_days: 30 },
        clock: Arc::new(SystemClock),
    });
    let registry = registry.await.unwrap();
    let created = registry.create_workspace(&act(), workspace("acme")).await;
    created.unwrap();
    (folder, registry)
}

async fn add(registry: &Arc<Registry>, label: String) {
    add_to(registry, "acme", label).await;
}

async fn add_to(registry: &Arc<Registry>, workspace: &str, label: String) {
    let secret = format!("sk-canary-of-the-log-{label}");
    let secret = Secret::from_plaintext(secret.into_bytes()).unwrap();
    let (workspace, label) = (workspace.parse().unwrap(), label.parse().unwrap());
    let key = NewCredential::new(workspace, "openai", label, secret);
    registry.add(&act(), key).await.unwrap();
}

/// After 24 commits they are moved to a segment, and the originals deleted.
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

/// Number of commits whose records the chains keep after they were read.
fn kept_commits(registry: &Registry) -> usize {
    let chains = &registry.chains;
    let registrations = chains.registrations();
    let of_workspaces = registrations.keys().map(|id| chains.of(id));
    let all = of_workspaces.chain([chains.installation().clone()]);
    all.map(|tracked| tracked.chain.kept_commits()).sum()
}

/// A batch of lines, and the tail and one segment of one chain.
#[tokio::test]
async fn reading_the_log_keeps_few_records_in_memory_for_any_length_and_none_afterwards() {
    let (_folder, registry) = open().await;
    for id in ["beta", "gamma"] {
        let created = registry.create_workspace(&act(), workspace(id)).await;
        created.unwrap();
        for n in 0..60 {
            add_to(&registry, id, format!("key-{n}")).await;
        }
    }
    for n in 0..540 {
        add(&registry, format!("key-{n}")).await;
    }
    let mut export = registry.audit().export(AuditFilter::default(), None);
    let (mut lines, mut most) = (0, 0);
    while let Some(batch) = export.next().await.unwrap() {
        lines += batch.len();
        most = most.max(batch.len() + kept_commits(&registry));
    }
    drop(export);
    assert!(lines > 650, "{lines}");
    // The largest batch, tail and segment.
    assert!(most <= 512 + 32 + 24, "{most}");
    assert_eq!(kept_commits(&registry), 0, "after an export");
    registry.link(true).await;
    registry.audit().verify().await.unwrap();
    assert_eq!(kept_commits(&registry), 0, "after a check");
    let all = AuditFilter::default();
    let page = registry.audit().search(&all, None, 10_000).await.unwrap();
    assert!(page.records.len() > 650, "{}", page.records.len());
    assert_eq!(kept_commits(&registry), 0, "after a search");
}

#[tokio::test]
async fn a_check_reports_an_older_or_damaged_keyring_that_was_put_in_place() {
    let (folder, registry) = open().await;
    let path = folder.path().join("keyring");
    let older = std::fs::read(&path).unwrap();
    let created = registry.create_workspace(&act(), workspace("beta")).await;
    created.unwrap();
    registry.audit().verify().await.unwrap();
    let newest = std::fs::read(&path).unwrap();
    for (bytes, finding) in [
        (&older[..], "replaced by an older copy"),
        (&b"{"[..], "is damaged"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = registry.audit().verify().await.unwrap_err();
        assert!(error.is_finding(), "{error}");
        assert!(error.to_string().contains(finding), "{error}");
    }
    std::fs::write(&path, newest).unwrap();
    registry.audit().verify().await.unwrap();
}
