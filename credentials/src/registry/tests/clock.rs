//! A clock that was ahead when the log was written: the log's time counts, until someone says that the clock is right.

use super::{
    erasing::{acme, erase, run},
    *,
};
use crate::{
    Timestamp,
    audit::{Audit, ClockBehind},
    keyring::Keyring,
};

impl Installation {
    /// The log, while no registry is open on it.
    async fn at_rest(&self) -> Audit {
        let kms = Kms::local(MasterKey::parse(&[9; 32], "a test").unwrap());
        let keyring = Keyring::open_or_create(&self.keyring(), kms).await.unwrap();
        let clock = Ratchet::new(self.clock.clone());
        let (keyring, clock) = (Arc::new(keyring), Arc::new(clock));
        Audit::new(self.memory.clone(), keyring, clock, &self.anchor())
    }

    async fn accept_clock(&self) -> ClockBehind {
        let log = self.at_rest().await;
        let behind = log.clock_behind().await.unwrap().unwrap();
        log.accept_clock(behind).await.unwrap();
        behind
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A key that ends in ten days, and a record that was made while the clock was a year ahead. It is right again.
async fn jumped() -> Installation {
    let (installation, registry) = Installation::with_acme().await;
    let ends = NewCredential {
        expires_at: Some(at(NOW + 10 * DAY)),
        ..key("default", "sk-1")
    };
    registry.add(&act(), ends).await.unwrap();
    installation.clock.set(NOW + 365 * DAY);
    let made = registry.create_workspace(&act(), workspace("globex")).await;
    made.unwrap();
    drop(registry);
    installation.clock.set(NOW + DAY);
    installation
}

async fn answers(registry: &Registry) -> Result<String, Refusal> {
    opened(registry.resolver().resolve(&ask("acme")))
}

#[tokio::test]
async fn a_clock_that_is_accepted_counts_from_the_next_start_on_and_that_is_on_record() {
    let installation = jumped().await;
    let registry = installation.open().await;
    assert_eq!(answers(&registry).await, Err(Refusal::CredentialExpired));
    drop(registry);
    let behind = installation.accept_clock().await;
    let (clock, log) = (at(NOW + DAY), at(NOW + 365 * DAY));
    assert_eq!((behind.clock, behind.log), (clock, log));
    let registry = installation.open().await;
    assert_eq!(answers(&registry).await.unwrap(), "sk-1");
    let head = registry.audit().verify().await.unwrap();
    let record = registry.audit().records(head.position, 1).await.unwrap();
    assert_eq!(
        (record[0].event, record[0].at),
        (Event::ClockAccepted, clock)
    );
    let note = record[0].note.as_ref().unwrap();
    assert!(note.contains(&log.to_string()), "{note}");
    // The next record is made by it, and so is the start after that.
    registry
        .rotate(&act(), &only(&registry), to("sk-2"))
        .await
        .unwrap();
    drop(registry);
    assert_eq!(answers(&*installation.open().await).await.unwrap(), "sk-2");
    assert_eq!(
        installation.at_rest().await.clock_behind().await.unwrap(),
        None
    );
}

#[tokio::test]
async fn what_had_expired_when_the_clock_was_accepted_does_not_revive_when_it_is_set_back_again() {
    let installation = jumped().await;
    installation.clock.set(NOW + 11 * DAY);
    installation.accept_clock().await;
    installation.clock.set(NOW);
    let registry = installation.open().await;
    assert_eq!(answers(&registry).await, Err(Refusal::CredentialExpired));
}

#[tokio::test]
async fn runs_of_a_workspace_are_kept_though_one_of_its_name_was_erased_while_the_clock_was_ahead()
{
    let (installation, registry) = Installation::with_acme().await;
    installation.clock.set(NOW + 365 * DAY);
    erase(&registry).await;
    drop(registry);
    installation.clock.set(NOW + DAY);
    installation.accept_clock().await;
    let registry = installation.open().await;
    let made = registry.create_workspace(&act(), workspace("acme")).await;
    made.unwrap();
    let id = registry.add(&act(), key("a", "sk-1")).await.unwrap();
    let id = id.credential.id;
    registry.runs().record(run("acme", &id, NOW + DAY + 1));
    registry.runs().flush().await;
    let kept = registry.runs().recent(10, &Scope::All).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(&*kept[0].workspace, acme().as_str());
}

fn only(registry: &Registry) -> CredentialId {
    registry.list(&Filter::default())[0].id.clone()
}
