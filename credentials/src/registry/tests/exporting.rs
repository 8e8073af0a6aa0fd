//! The archive of a workspace.

use std::io::Read;

use keyside_store::{Hash, faulty::Fault};
use serde_json::Value;

use super::{erasing::run, *};

fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap();
    let file = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry: tar::Entry<'_, &[u8]> = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        (name, contents)
    };
    entries.map(file).collect()
}

#[tokio::test]
async fn an_export_contains_everything_of_one_workspace_and_no_secret() {
    let (_installation, registry) = Installation::with_acme().await;
    registry
        .create_workspace(&act(), workspace("globex"))
        .await
        .unwrap();
    let added = registry
        .add(&act(), key("a", "sk-acme-0123456789"))
        .await
        .unwrap();
    for workspace in ["acme", "globex"] {
        let id = &added.credential.id;
        registry.runs().record(run(workspace, id, NOW));
    }
    let archive = registry
        .export_workspace(&act(), &"acme".parse().unwrap())
        .await
        .unwrap();
    let files = files(&archive);
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "workspace.json",
            "credentials.json",
            "audit.ndjson",
            "runs.ndjson",
            "manifest.json"
        ]
    );
    let json = |at: usize| serde_json::from_slice::<Value>(&files[at].1).unwrap();
    assert_eq!(json(0)["defaults"]["openai"]["live"], json(1)[0]["id"]);
    assert_eq!(
        json(1)[0]["fingerprint"],
        added.credential.fingerprint.unwrap().to_string()
    );
    let events: Vec<Value> = String::from_utf8(files[2].1.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone())
        .collect();
    assert_eq!(
        events,
        [
            "workspace_created",
            "chain_begun",
            "credential_created",
            "workspace_exported"
        ]
    );
    let runs = json(3);
    assert_eq!(runs["credentialId"], json(1)[0]["id"], "the one of acme");
    for (entry, (name, contents)) in json(4)["files"].as_array().unwrap().iter().zip(&files) {
        assert_eq!(entry["name"], **name);
        assert_eq!(entry["sha256"], Hash::of(contents).to_string());
    }
    let text = String::from_utf8_lossy(&archive);
    assert!(!text.contains("sk-acme-0123456789") && !text.contains("globex"));
    assert!(!text.contains("sealed"));
}

#[tokio::test]
async fn an_export_that_cannot_be_audited_is_refused() {
    let (installation, registry) = Installation::with_acme().await;
    drop(registry);
    let (storage, registry) = installation.open_faulty().await;
    storage.fail(1, usize::MAX, Fault::Refused);
    let export = registry
        .export_workspace(&act(), &"acme".parse().unwrap())
        .await;
    assert!(matches!(export, Err(ChangeError::StoreUnavailable(_))));
}
