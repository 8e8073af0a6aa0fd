//! Records about declared credentials: their secrets are lost, and can be read again.

use std::time::Duration;

use keyside_config::{DeclaredCredential, DeclaredEnvironment, DeclaredLimits};

use super::{
    references::{Vault, away, follow, gone, recorded},
    *,
};
use crate::{
    declared::DeclaredOptions,
    model::{CredentialChange, CredentialEventKind},
};

const PATH: &str = "kv/shared/openai";
const SOURCE: &str = "vault:kv/shared/openai#api_key";

/// An authority whose settings declare one credential, of a workspace that is not stored.
async fn start(installation: &Installation, vault: &Arc<Vault>) -> Arc<Registry> {
    let registry = installation.open().await;
    let credential = DeclaredCredential {
        workspace: "globex".into(),
        provider: "openai".parse().unwrap(),
        label: "main".into(),
        environment: DeclaredEnvironment::Live,
        usage_tag: None,
        endpoint: None,
        limits: DeclaredLimits::default(),
        source: SOURCE.parse().unwrap(),
    };
    let options = DeclaredOptions {
        credentials: vec![credential],
        catalogue: catalogue(),
        vault: Some(vault.clone()),
        poll: Duration::from_secs(30),
        outage: Duration::from_secs(900),
        cache: None,
        clock: installation.clock.clone(),
    };
    let declared = DeclaredCredentials::new(options).unwrap();
    registry.overlay_declared(declared.clone());
    declared.follow().await;
    follow(&registry, vault).await;
    registry
}

/// Waits for these records, and for enough polls to see that there are no others.
async fn expect(registry: &Registry, expected: &[(Event, String)]) {
    let in_time = tokio::time::timeout(Duration::from_secs(600), async {
        while recorded(registry).await.len() < expected.len() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
    });
    in_time.await.expect("it is recorded");
    assert_eq!(recorded(registry).await, expected);
}

fn lost() -> (Event, String) {
    (Event::CredentialSourceLost, format!("{SOURCE}: 404"))
}

fn back(version: u32) -> (Event, String) {
    let note = format!("{SOURCE}, version {version}");
    (Event::CredentialSourceChanged, note)
}

#[tokio::test(start_paused = true)]
async fn each_loss_and_return_of_a_declared_secret_is_audited_once_also_across_restarts() {
    let (installation, vault) = (Installation::new(), Arc::new(Vault::default()));
    vault.set(PATH, Ok(("1", "sk-canary-declared-audited")));
    let mut registry = start(&installation, &vault).await;
    let mut expected: Vec<(Event, String)> = Vec::new();
    expect(&registry, &expected).await;
    for (answer, news) in [
        (Err(gone()), Some(lost())),
        // Its state is unknown.
        (Err(away()), None),
        (Ok(("2", "sk-canary-declared-restored")), Some(back(2))),
        (Ok(("3", "sk-canary-declared-rotated")), None),
        (Err(gone()), Some(lost())),
    ] {
        vault.set(PATH, answer);
        expected.extend(news);
        expect(&registry, &expected).await;
        drop(registry);
        registry = start(&installation, &vault).await;
        expect(&registry, &expected).await;
    }
    registry.audit().verify().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_record_of_a_lost_declared_secret_names_the_credential_and_is_published() {
    let (installation, vault) = (Installation::new(), Arc::new(Vault::default()));
    vault.set(PATH, Ok(("1", "sk-canary-declared-published")));
    let registry = start(&installation, &vault).await;
    let mut events = registry.events();
    vault.set(PATH, Err(gone()));
    let event = events.recv().await.unwrap();
    let change = CredentialEventKind::Changed(CredentialChange::SourceLost);
    assert_eq!(event.kind, change);
    let records = records(&registry).await;
    let record = records.last().unwrap();
    assert_eq!(record.event, Event::CredentialSourceLost);
    assert_eq!(record.actor, ActorId::system());
    assert_eq!(record.workspace, Some("globex".parse().unwrap()));
    assert_eq!(record.provider.as_deref(), Some("openai"));
    assert!(event.credential.is_some() && record.credential == event.credential);
}
