//! A clock that was ahead when the log was written: the log's time is used until an operator
//! accepts the clock.

use std::ops::Range;

use jiff::Timestamp;

use super::{
    erasing::{acme, erase, run},
    *,
};
use crate::{record::Draft, runs::RunFilter};

impl Installation {
    /// Loads the chains without a registry, like [`OfflineAudit`](crate::audit::OfflineAudit), with
    /// the test's clock.
    async fn chains_at_rest(&self) -> Chains {
        let kms = Kms::local(MasterKey::parse(&[9; 32], "a test").unwrap());
        let path = self.keyring();
        let keyring = Keyring::open_or_create(&path, kms, self.clock.now());
        let keyring = keyring.await.unwrap();
        let clock = Arc::new(Ratchet::new(self.clock.clone()));
        let heads = self.heads();
        let chains = Chains::new(self.backend(), Arc::new(keyring), clock, &heads).await;
        chains.refresh(chains.installation()).await.unwrap();
        for id in chains.registrations().keys() {
            chains.refresh(&chains.of(id)).await.unwrap();
        }
        chains
    }

    /// Accepts the clock, and returns the time of the log.
    async fn accept_clock(&self) -> Timestamp {
        let chains = self.chains_at_rest().await;
        let log = chains.latest();
        assert!(self.clock.now() < log);
        let draft = Draft {
            note: Some(format!("the log was at {log}")),
            ..Draft::new(Event::ClockAccepted, &ActorContext::system("clock accept"))
        };
        chains.accept_clock(draft, log).await.unwrap();
        log
    }
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A key that expires in ten days, and a record that was written while the clock was a year ahead.
/// The clock is right again.
async fn after_clock_jump() -> Installation {
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
async fn an_accepted_clock_is_used_from_the_next_start_on_and_audited() {
    let installation = after_clock_jump().await;
    let registry = installation.open().await;
    assert_eq!(answers(&registry).await, Err(Refusal::CredentialExpired));
    drop(registry);
    let accepted = installation.accept_clock().await;
    let (clock, log) = (at(NOW + DAY), at(NOW + 365 * DAY));
    assert_eq!(accepted, log);
    let registry = installation.open().await;
    assert_eq!(answers(&registry).await.unwrap(), "sk-1");
    registry.audit().verify().await.unwrap();
    let recorded = records(&registry).await;
    let record = recorded.iter().find(|it| it.event == Event::ClockAccepted);
    let record = record.unwrap();
    assert_eq!(record.at, clock);
    let note = record.note.as_ref().unwrap();
    assert!(note.contains(&log.to_string()), "{note}");
    // The next record has the accepted time, and so does the next start.
    registry
        .rotate(&act(), &only(&registry), to("sk-2"))
        .await
        .unwrap();
    drop(registry);
    assert_eq!(answers(&*installation.open().await).await.unwrap(), "sk-2");
    let latest = installation.chains_at_rest().await.latest();
    assert_eq!(latest, clock, "the time of the log is no longer used");
}

#[tokio::test]
async fn keys_expired_when_the_clock_was_accepted_do_not_revive_when_it_is_set_back() {
    let installation = after_clock_jump().await;
    installation.clock.set(NOW + 11 * DAY);
    installation.accept_clock().await;
    installation.clock.set(NOW);
    let registry = installation.open().await;
    assert_eq!(answers(&registry).await, Err(Refusal::CredentialExpired));
}

#[tokio::test]
async fn runs_are_kept_although_the_workspaces_predecessor_was_erased_with_the_clock_ahead() {
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
    let kept = registry.runs().search(10, &RunFilter::default()).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(&*kept[0].workspace, acme().as_str());
}

#[tokio::test]
async fn a_chain_written_while_the_clock_was_ahead_uses_the_accepted_time() {
    let installation = after_clock_jump().await;
    installation.accept_clock().await;
    let registry = installation.open().await;
    let new = NewCredential {
        workspace: "globex".parse().unwrap(),
        ..key("a", "sk-1")
    };
    let added = registry.add(&act(), new).await.unwrap();
    let recorded = records(&registry).await;
    let of_it = |it: &&AuditRecord| it.credential.as_ref() == Some(&added.credential.id);
    assert_eq!(recorded.iter().find(of_it).unwrap().at, at(NOW + DAY));
}

impl Installation {
    /// Another process on the same store, whose clock is an hour ahead.
    async fn open_ahead(&self) -> Arc<Registry> {
        let options = OpenOptions {
            clock: Arc::new(HeldClock::at(NOW + 3_600)),
            ..self.options(self.backend())
        };
        open_without_tasks(options).await.unwrap()
    }
}

#[tokio::test]
async fn with_another_clock_ahead_record_times_never_decrease_and_no_page_misses_a_record() {
    let (installation, registry) = Installation::with_acme().await;
    let other = installation.open_ahead().await;
    other.add(&act(), key("a", "sk-1")).await.unwrap();
    let made = other.create_workspace(&act(), workspace("globex")).await;
    made.unwrap();
    registry.add(&act(), key("b", "sk-2")).await.unwrap();
    registry.add(&act(), key("c", "sk-3")).await.unwrap();
    let made = registry
        .create_workspace(&act(), workspace("initech"))
        .await;
    made.unwrap();
    registry.catch_up().await.unwrap();
    let by_time = all_records(&registry).await;
    check_each_once(&by_time);
    assert_eq!(paged(&registry, &AuditFilter::default(), 1).await, by_time);
}

/// The records that a filter matches, read in pages. Oldest first.
async fn paged(registry: &Registry, filter: &AuditFilter, limit: usize) -> Vec<AuditRecord> {
    let (mut paged, mut before) = (Vec::new(), None);
    loop {
        let found = registry.audit().search(filter, before, limit).await;
        let found = found.unwrap();
        paged.extend(found.records);
        before = found.before;
        if before.is_none() {
            paged.reverse();
            return paged;
        }
    }
}

/// Each chain's records are in order, from the first on.
fn check_each_once(records: &[AuditRecord]) {
    let mut last = Seen::new();
    for record in records {
        let before = last.insert(record.chain.clone(), record.position);
        let is_next = before.unwrap_or(0) + 1 == record.position;
        assert!(is_next, "{record:?} comes after {before:?}");
    }
}

/// A log in which times went back twice. The clock was accepted the second time at NOW + 2 days.
async fn accepted_twice() -> (Installation, Arc<Registry>) {
    let (installation, mut registry) = Installation::with_acme().await;
    for (first, accepted, ahead) in [(100, DAY, 365 * DAY), (200, 2 * DAY, 200 * DAY)] {
        add_keys(&registry, first..first + 2).await;
        installation.clock.set(NOW + ahead);
        add_keys(&registry, first + 2..first + 32).await;
        let id = format!("after-{ahead}");
        let made = registry.create_workspace(&act(), workspace(&id)).await;
        made.unwrap();
        drop(registry);
        installation.clock.set(NOW + accepted);
        installation.accept_clock().await;
        registry = installation.open().await;
    }
    for hours in 1..10 {
        installation.clock.set(NOW + 2 * DAY + hours * 3_600);
        add_keys(&registry, hours..hours + 1).await;
    }
    (installation, registry)
}

async fn add_keys(registry: &Arc<Registry>, numbers: Range<i64>) {
    for number in numbers {
        let new = key(&format!("k{number}"), &format!("sk-{number}"));
        registry.add(&act(), new).await.unwrap();
    }
}

#[tokio::test]
async fn after_the_clock_was_accepted_no_page_misses_or_repeats_a_record() {
    let (_installation, registry) = accepted_twice().await;
    let all = all_records(&registry).await.len();
    for limit in [1, 3, 20, 1_000] {
        let read = paged(&registry, &AuditFilter::default(), limit).await;
        check_each_once(&read);
        assert_eq!(read.len(), all, "pages of {limit}");
    }
}

#[tokio::test]
async fn after_the_clock_was_accepted_each_record_is_found_before_or_since_any_time() {
    let (_installation, registry) = accepted_twice().await;
    let all = all_records(&registry).await.len();
    for time in [0, DAY, 2 * DAY, 2 * DAY + 7_200, 200 * DAY, 366 * DAY].map(|it| at(NOW + it)) {
        let until = AuditFilter {
            until: Some(time),
            ..AuditFilter::default()
        };
        let since = AuditFilter {
            since: Some(time),
            ..AuditFilter::default()
        };
        let before = paged(&registry, &until, 3).await;
        let after = paged(&registry, &since, 3).await;
        let both = [before, after.clone()].concat();
        check_each_once(&both);
        assert_eq!(both.len(), all, "{time}");
        let mut export = registry.audit().export(since, Some(time));
        let mut exported = 0;
        while let Some(lines) = export.next().await.unwrap() {
            let records = lines.iter().filter(|line| matches!(line, Line::Record(_)));
            exported += records.count();
        }
        assert_eq!(exported, after.len(), "{time}");
    }
}

#[tokio::test]
async fn a_time_that_was_ahead_is_not_used_again_after_the_clock_was_accepted_twice() {
    let (installation, registry) = accepted_twice().await;
    drop(registry);
    // The workspace `after-31536000` has had no commit since the first time.
    let latest = installation.chains_at_rest().await.latest();
    assert_eq!(latest, at(NOW + 2 * DAY + 9 * 3_600));
}

#[tokio::test]
async fn runs_are_kept_although_the_log_was_ahead_when_the_predecessor_was_erased() {
    let (installation, registry) = Installation::with_acme().await;
    let other = installation.open_ahead().await;
    let made = other.create_workspace(&act(), workspace("globex")).await;
    made.unwrap();
    erase(&registry).await;
    let made = registry.create_workspace(&act(), workspace("acme")).await;
    made.unwrap();
    let added = registry.add(&act(), key("a", "sk-1")).await.unwrap();
    let id = added.credential.id;
    registry.runs().record(run("acme", &id, NOW + 1));
    registry.runs().flush().await;
    let kept = registry.runs().search(10, &RunFilter::default()).await;
    assert_eq!(kept.len(), 1);
}

fn only(registry: &Registry) -> CredentialId {
    registry.list(&Filter::default())[0].id.clone()
}
