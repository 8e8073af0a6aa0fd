//! A clock that was ahead when the log was written: the log's time counts, until someone says that the clock is right.

use jiff::Timestamp;

use super::{
    erasing::{acme, erase, run},
    *,
};
use crate::record::Draft;

impl Installation {
    /// The chains, while no registry is open on them. As [`AtRest`](crate::audit::AtRest) does, with the clock of the test.
    async fn chains_at_rest(&self) -> Chains {
        let kms = Kms::local(MasterKey::parse(&[9; 32], "a test").unwrap());
        let keyring = Keyring::open_or_create(&self.keyring(), kms).await.unwrap();
        let clock = Arc::new(Ratchet::new(self.clock.clone()));
        let heads = self.heads();
        let chains = Chains::new(self.backend(), Arc::new(keyring), clock, &heads).await;
        chains.refresh(chains.own()).await.unwrap();
        for id in chains.marks().keys() {
            chains.refresh(&chains.of(id)).await.unwrap();
        }
        chains
    }

    /// Says that the clock is right; what the log told.
    async fn accept_clock(&self) -> Timestamp {
        let chains = self.chains_at_rest().await;
        let log = chains.latest();
        assert!(self.clock.now() < log);
        let draft = Draft {
            note: Some(format!("the log was at {log}")),
            ..Draft::new(Event::ClockAccepted, &Act::system("clock accept"))
        };
        chains.accept_clock(draft, log).await.unwrap();
        log
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
    let accepted = installation.accept_clock().await;
    let (clock, log) = (at(NOW + DAY), at(NOW + 365 * DAY));
    assert_eq!(accepted, log);
    let registry = installation.open().await;
    assert_eq!(answers(&registry).await.unwrap(), "sk-1");
    registry.audit().verify().await.unwrap();
    let told = records(&registry).await;
    let record = told.iter().find(|it| it.event == Event::ClockAccepted);
    let record = record.unwrap();
    assert_eq!(record.at, clock);
    let note = record.note.as_ref().unwrap();
    assert!(note.contains(&log.to_string()), "{note}");
    // The next record is made by it, and so is the start after that.
    registry
        .rotate(&act(), &only(&registry), to("sk-2"))
        .await
        .unwrap();
    drop(registry);
    assert_eq!(answers(&*installation.open().await).await.unwrap(), "sk-2");
    let latest = installation.chains_at_rest().await.latest();
    assert_eq!(latest, clock, "no longer the time that the log told");
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
